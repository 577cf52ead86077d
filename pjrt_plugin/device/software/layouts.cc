// SPDX-License-Identifier: Apache-2.0
// Views are proposed in program order and then refused where a reader needs dense memory; a refusal
// changes what follows from it, so the two steps alternate until nothing changes.
#include "device/software/layouts.h"

#include <algorithm>

#include "device/software/ops/op.h"

namespace jax_ane::software {
namespace {

using Dims = std::vector<int64_t>;

constexpr int kRounds = 16;  // then every view that is not dense is given up

class LayoutFinder {
  public:
    LayoutFinder(const Graph& graph, const device::ProgramAttributes& attributes,
                 const ChipTraits& chip);
    std::vector<ValueLayout> Find();

  private:
    struct Reader {
        const GraphNode* node;
        const std::string* argument;
    };

    const GraphValue& Value(int v) const { return graph_.values[static_cast<size_t>(v)]; }
    ValueLayout& At(int v) { return layouts_[static_cast<size_t>(v)]; }
    const Dims& DimsOf(int v) const { return Value(v).type.dims; }

    void Propose();
    void ProposeInputs();
    void ProposeView(const GraphNode& node);
    void ProposeRows(const GraphNode& node);
    bool RefuseSome(bool all);
    void Refuse(int v);
    bool Accepts(const Reader& reader, int v);
    bool WalksRows(const GraphNode& reader, int v) const;
    bool MultipliesRows(const GraphNode& reader, const std::string& argument) const;
    void Own(int v) { At(v) = {v, DenseView(DimsOf(v)), true}; }

    const Graph& graph_;
    const device::ProgramAttributes& attributes_;
    const ChipTraits& chip_;
    std::vector<ValueLayout> layouts_;
    std::vector<std::vector<Reader>> readers_;
    std::vector<bool> refused_, is_output_;
};

LayoutFinder::LayoutFinder(const Graph& graph, const device::ProgramAttributes& attributes,
                           const ChipTraits& chip)
    : graph_(graph), attributes_(attributes), chip_(chip) {
    const size_t count = graph.values.size();
    layouts_.resize(count);
    readers_.resize(count);
    refused_.assign(count, false);
    is_output_.assign(count, false);
    for (int v : graph.outputs) is_output_[static_cast<size_t>(v)] = true;
    for (const GraphNode& node : graph.nodes) {
        for (const auto& [name, values] : node.arguments) {
            for (int v : values) readers_[static_cast<size_t>(v)].push_back({&node, &name});
        }
    }
}

std::vector<ValueLayout> LayoutFinder::Find() {
    Propose();
    for (int round = 0; RefuseSome(round >= kRounds); ++round) Propose();
    return std::move(layouts_);
}

void LayoutFinder::Propose() {
    for (size_t v = 0; v < layouts_.size(); ++v) Own(static_cast<int>(v));
    ProposeInputs();
    for (const GraphNode& node : graph_.nodes) {
        if (node.results.empty() || refused_[static_cast<size_t>(node.results[0])]) continue;
        if (node.def->view != nullptr) ProposeView(node);
        if ((node.def->flags & kJoins) != 0) ProposeRows(node);
    }
}

void LayoutFinder::ProposeInputs() {
    for (size_t i = 0; i < graph_.inputs.size(); ++i) {
        const int v = graph_.inputs[i];
        const device::BoundaryTensor& t = attributes_.inputs[i];
        const auto element = static_cast<int64_t>(device::ElementSize(t.type));
        const Dims& dims = DimsOf(v);
        if (refused_[static_cast<size_t>(v)] || dims.size() < 2 || t.row_stride % element != 0) {
            continue;
        }
        StridedView view = DenseView(dims);
        int64_t stride = t.row_stride / element;
        for (size_t axis = dims.size() - 1; axis-- > 0;) {
            view.strides[axis] = stride;
            stride *= dims[axis];
        }
        const bool dense = IsDense(view, dims);
        At(v) = {v, std::move(view), dense};
    }
}

// The value whose elements a view shows.
int Viewed(const GraphNode& node) {
    for (const auto& [name, values] : node.arguments) {
        if (name == "x") return values[0];
    }
    return -1;
}

void LayoutFinder::ProposeView(const GraphNode& node) {
    const int v = node.results[0], behind = Viewed(node);
    const ValueLayout& from = At(behind);
    const bool renames = (node.def->flags & kView) != 0;
    // What is held for constants is their bytes; only another shape of them is a view.
    if (Value(from.root).constant && !renames) return;
    Findings findings;
    OpContext context(graph_, node, chip_, &findings);
    StridedView view = from.view;
    if (renames) {
        std::optional<StridedView> reshaped = Reshape(view, DimsOf(behind), DimsOf(v));
        if (!reshaped) return;
        view = *std::move(reshaped);
    } else if (view.rows != nullptr || !node.def->view(context, &view)) {
        return;
    }
    const bool dense = IsDense(view, DimsOf(v));
    At(v) = {from.root, std::move(view), dense};
}

// A concatenation along the last axis of equally shaped walks through one value.
void LayoutFinder::ProposeRows(const GraphNode& node) {
    const std::vector<int>* parts = nullptr;
    for (const auto& [name, values] : node.arguments) {
        if (name == "values") parts = &values;
    }
    if (parts == nullptr || parts->size() < 2) return;
    Findings findings;
    OpContext context(graph_, node, chip_, &findings);
    int64_t axis = 0;
    const Dims dims = DimsOf((*parts)[0]);
    const auto rank = static_cast<int64_t>(dims.size());
    if (rank < 2 || !context.Axis("axis", 0, rank, &axis) || axis != rank - 1) return;
    if (context.Bool("interleave", false)) return;
    const ValueLayout& first = At((*parts)[0]);
    if (first.view.rows != nullptr || first.view.strides.back() != 1) return;
    if (Value(first.root).type.dtype != DType::kFp16 || Value(first.root).constant) return;
    auto rows = std::make_shared<GatheredRows>();
    rows->row_dims.assign(dims.begin(), dims.end() - 1);
    rows->row_strides.assign(first.view.strides.begin(), first.view.strides.end() - 1);
    rows->tap_length = dims.back();
    for (int part : *parts) {
        const ValueLayout& layout = At(part);
        const bool alike = layout.root == first.root && DimsOf(part) == dims &&
                           layout.view.strides == first.view.strides && part != layout.root;
        if (!alike) return;
        rows->taps.push_back(layout.view.offset);
    }
    At(node.results[0]) = {first.root, {{}, 0, std::move(rows)}, false};
}

// Whether a reader can do with rows that are not dense and nothing to broadcast. The rows run along
// the last axis that has more than one element.
bool LayoutFinder::WalksRows(const GraphNode& reader, int v) const {
    const Dims& dims = DimsOf(v);
    const StridedView& view = layouts_[static_cast<size_t>(v)].view;
    if (view.rows != nullptr || dims != DimsOf(reader.results[0])) return false;
    for (size_t i = dims.size(); i-- > 0;) {
        if (dims[i] != 1) return view.strides[i] == 1;
    }
    return true;
}

// Whether a reader is a product that takes gathered rows: as its left side, against one right side.
bool LayoutFinder::MultipliesRows(const GraphNode& reader, const std::string& argument) const {
    if (argument != "x") return false;
    Findings findings;
    OpContext context(graph_, reader, chip_, &findings);
    const Dims& y = context.Dims("y");
    const bool one = std::all_of(y.begin(), y.end() - 2, [](int64_t d) { return d == 1; });
    return one && !context.Bool("transpose_x", false);
}

bool LayoutFinder::Accepts(const Reader& reader, int v) {
    const GraphNode& node = *reader.node;
    const ValueLayout& layout = At(v);
    const ValueLayout& result = At(node.results[0]);
    const bool is_view = node.def->view != nullptr || (node.def->flags & kJoins) != 0;
    if (is_view && result.root == layout.root && result.root != node.results[0]) return true;
    if (layout.view.rows != nullptr) {
        return (node.def->flags & kMultiplies) != 0 && MultipliesRows(node, *reader.argument);
    }
    if ((node.def->flags & (kJoins | kMultiplies)) != 0) return true;
    return (node.def->flags & kWalks) != 0 && WalksRows(node, v);
}

// Refuses the views that a reader cannot use; true if there were any.
bool LayoutFinder::RefuseSome(bool all) {
    bool any = false;
    for (size_t i = 0; i < layouts_.size(); ++i) {
        const int v = static_cast<int>(i);
        const ValueLayout& layout = layouts_[i];
        if (refused_[i] || layout.dense) continue;
        const bool good = !all && !is_output_[i] && !readers_[i].empty() &&
                          std::all_of(readers_[i].begin(), readers_[i].end(),
                                      [&](const Reader& reader) { return Accepts(reader, v); });
        if (good) continue;
        Refuse(v);
        any = true;
    }
    return any;
}

// A value that only renames another's axes has no step that could copy it: the other one is copied.
void LayoutFinder::Refuse(int v) {
    for (;;) {
        const int producer = Value(v).producer;
        const bool renames =
            producer >= 0 && (graph_.nodes[static_cast<size_t>(producer)].def->flags & kView) != 0;
        if (!renames) break;
        v = Viewed(graph_.nodes[static_cast<size_t>(producer)]);
    }
    refused_[static_cast<size_t>(v)] = true;
}

}  // namespace

std::vector<ValueLayout> FindLayouts(const Graph& graph,
                                     const device::ProgramAttributes& attributes,
                                     const ChipTraits& chip) {
    return LayoutFinder(graph, attributes, chip).Find();
}

}  // namespace jax_ane::software
