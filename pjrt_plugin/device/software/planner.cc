// SPDX-License-Identifier: Apache-2.0
#include "device/software/planner.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <optional>
#include <utility>

#include "device/software/arena.h"
#include "device/software/layouts.h"
#include "util/aligned_memory.h"

namespace jax_ane::software {

namespace {

constexpr size_t kMaxArenaBytes = size_t{16} << 30;

class Planner {
  public:
    Planner(const Graph& graph, const device::ProgramAttributes& attributes, const ChipTraits& chip,
            NumericsMode mode, const Engine& engine);
    StatusOr<Plan> Make();

  private:
    static constexpr int kNoBlock = -1;

    // The moment after all nodes, when outputs are copied out.
    int End() const { return static_cast<int>(graph_.nodes.size()); }
    bool IsPacked(const device::BoundaryTensor& t) const {
        return t.planes * t.height == 1 ||
               t.row_stride == t.width * static_cast<int64_t>(device::ElementSize(t.type));
    }
    const GraphValue& Value(int v) const { return graph_.values[static_cast<size_t>(v)]; }
    Ref& At(int v) { return plan_.refs[static_cast<size_t>(v)]; }
    int& BlockOf(int v) { return block_[static_cast<size_t>(v)]; }

    const ValueLayout& Layout(int v) const { return layouts_[static_cast<size_t>(v)]; }
    bool IsView(int v) const { return Layout(v).root != v; }
    // Whether a value is all of its block, row-major.
    bool FillsBlock(int v) const {
        return Layout(v).dense && Layout(v).view.offset == 0 &&
               Value(v).type.bytes() == Value(Layout(v).root).type.bytes();
    }
    void FindChains();
    bool Continues(const GraphNode& node, int begin) const;
    void FindLastUses();
    int EndOf(int node) const {
        return node < 0 || node == End() ? node : chain_end_[static_cast<size_t>(node)];
    }
    int BeginOf(int node) const {
        return node < 0 ? node : chain_begin_[static_cast<size_t>(node)];
    }
    void FlushChain();
    void PlaceInputs();
    void PlaceResults(const GraphNode& node, int index);
    int InPlaceBlock(const GraphNode& node, int index);
    int AddBlock(size_t bytes, int first, int last);
    Ref RefOf(int block) const { return {nullptr, plan_.border_bases + block, 0}; }
    void GiveBlock(int v, int first, int last_use);
    void CopyOut();
    Status LayOut();
    Ref Locate(int v);
    uint8_t* Hold(size_t bytes);
    Status PlanNode(const GraphNode& node, int index);

    const Graph& graph_;
    const device::ProgramAttributes& attributes_;
    const ChipTraits& chip_;
    Plan plan_;
    // Stretches of the arena, each shared by a value, its views and what overwrites it.
    std::vector<Lifetime> blocks_;
    const std::vector<ValueLayout> layouts_;    // by value
    std::vector<int> chain_begin_, chain_end_;  // by node: first and last of its elementwise chain
    std::optional<RangeStep> range_;            // of the node that is planned
    std::vector<RangeStep> chain_;              // of the nodes so far of a chain that is planned
    int64_t chain_elements_ = 0;
    std::vector<int> block_;     // by value
    std::vector<int> last_use_;  // by value, its views included
    std::vector<int> output_;    // by value: which output it is, or -1
    int now_ = -1;  // the node that is planned; before the first one, inputs are copied
    PlanContext::Services services_;
};

Planner::Planner(const Graph& graph, const device::ProgramAttributes& attributes,
                 const ChipTraits& chip, NumericsMode mode, const Engine& engine)
    : graph_(graph),
      attributes_(attributes),
      chip_(chip),
      layouts_(FindLayouts(graph, attributes, chip)) {
    const size_t count = graph.values.size();
    plan_.refs.resize(count);
    block_.assign(count, kNoBlock);
    last_use_.assign(count, -1);
    output_.assign(count, -1);
    plan_.border_bases = 1 + static_cast<int>(graph.inputs.size() + graph.outputs.size());
    services_.kernels = engine.kernels;
    services_.pool = engine.pool.get();
    services_.mode = mode;
    services_.locate = [this](int v) { return Locate(v); };
    services_.scratch = [this](size_t bytes) {
        return RefOf(AddBlock(bytes, BeginOf(now_), EndOf(now_)));
    };
    services_.elementwise = [this](int64_t elements, RangeStep step) {
        chain_elements_ = elements;
        range_ = std::move(step);
    };
    services_.strided = [this](int v) -> const StridedView* {
        return Layout(v).dense ? nullptr : &Layout(v).view;
    };
    services_.hold = [this](size_t bytes) { return Hold(bytes); };
    services_.keep = [this](std::shared_ptr<const void> o) { plan_.kept.push_back(std::move(o)); };
    plan_.kept.push_back(engine.pool);
}

uint8_t* Planner::Hold(size_t bytes) {
    std::shared_ptr<void> memory = AllocateAligned(bytes);
    if (memory == nullptr) throw std::bad_alloc();
    plan_.held_bytes += (std::max<size_t>(bytes, 1) + 63) / 64 * 64;
    auto* data = static_cast<uint8_t*>(memory.get());
    plan_.kept.push_back(std::move(memory));
    return data;
}

Ref Planner::Locate(int v) {
    const GraphValue& value = Value(v);
    Ref& ref = At(v);
    if (value.constant && ref.fixed == nullptr) {
        const size_t bytes =
            value.is_deferred ? static_cast<size_t>(value.type.bytes()) : value.constant->size;
        uint8_t* copy = Hold(bytes);
        if (!value.is_deferred) std::memcpy(copy, value.constant->bytes, bytes);
        ref.fixed = copy;
    }
    return ref;
}

// Whether an elementwise node may run part by part between the steps from node `begin` on: what it
// reads of theirs it reads at the elements that it writes.
bool Planner::Continues(const GraphNode& node, int begin) const {
    const int64_t elements = Value(node.results[0]).type.elements();
    const GraphNode& first = graph_.nodes[static_cast<size_t>(begin)];
    if (elements != Value(first.results[0]).type.elements()) return false;
    for (const auto& [name, values] : node.arguments) {
        for (int v : values) {
            const int root = Layout(v).root;
            if (Value(root).producer < begin) continue;
            if (!FillsBlock(v) || Value(v).type.elements() != elements) return false;
        }
    }
    return true;
}

// Elementwise nodes one after another, with nothing but views between them, on equally many
// elements.
void Planner::FindChains() {
    const auto count = static_cast<int>(graph_.nodes.size());
    chain_begin_.resize(static_cast<size_t>(count));
    chain_end_.resize(static_cast<size_t>(count));
    int begin = -1, last = -1;  // of the open chain
    auto close = [&] {
        for (int i = begin; begin >= 0 && i <= last; ++i) {
            chain_begin_[static_cast<size_t>(i)] = begin;
            chain_end_[static_cast<size_t>(i)] = last;
        }
        begin = -1;
    };
    for (int i = 0; i < count; ++i) {
        const GraphNode& node = graph_.nodes[static_cast<size_t>(i)];
        chain_begin_[static_cast<size_t>(i)] = chain_end_[static_cast<size_t>(i)] = i;
        if (IsView(node.results[0])) continue;
        const bool elementwise = (node.def->flags & kElementwise) != 0;
        if (begin >= 0 && !(elementwise && Continues(node, begin))) close();
        if (!elementwise) continue;
        if (begin < 0) begin = i;
        last = i;
    }
    close();
}

void Planner::FindLastUses() {
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
        for (const auto& [name, values] : graph_.nodes[i].arguments) {
            for (int v : values) last_use_[static_cast<size_t>(v)] = static_cast<int>(i);
        }
    }
    for (size_t j = 0; j < graph_.outputs.size(); ++j) {
        last_use_[static_cast<size_t>(graph_.outputs[j])] = End();
        output_[static_cast<size_t>(graph_.outputs[j])] = static_cast<int>(j);
    }
    // Memory lives as long as any view of it.
    for (size_t v = 0; v < last_use_.size(); ++v) {
        int& use = last_use_[static_cast<size_t>(Layout(static_cast<int>(v)).root)];
        use = std::max(use, last_use_[v]);
    }
}

int Planner::AddBlock(size_t bytes, int first, int last) {
    blocks_.push_back({bytes, first, last});
    return static_cast<int>(blocks_.size()) - 1;
}

void Planner::GiveBlock(int v, int first, int last_use) {
    // In a chain all operations are under way at once.
    BlockOf(v) =
        AddBlock(static_cast<size_t>(Value(v).type.bytes()), BeginOf(first), EndOf(last_use));
    At(v) = RefOf(BlockOf(v));
}

// Copies between a surface's padded rows and dense memory.
Step CopyRows(const device::BoundaryTensor& t, Ref surface, Ref dense, bool in) {
    const size_t row = static_cast<size_t>(t.width) * device::ElementSize(t.type);
    const int64_t rows = t.planes * t.height;
    const size_t stride = static_cast<size_t>(t.row_stride);
    return [=](const Run& run) {
        auto* padded = run.At<uint8_t>(surface);
        auto* packed = run.At<uint8_t>(dense);
        if (stride == row) {
            std::memcpy(in ? packed : padded, in ? padded : packed,
                        row * static_cast<size_t>(rows));
            return;
        }
        for (int64_t r = 0; r < rows; ++r, padded += stride, packed += row) {
            std::memcpy(in ? packed : padded, in ? padded : packed, row);
        }
    };
}

void Planner::PlaceInputs() {
    for (size_t i = 0; i < graph_.inputs.size(); ++i) {
        const int v = graph_.inputs[i];
        const Ref surface{nullptr, 1 + static_cast<int>(i), 0};
        if (IsPacked(attributes_.inputs[i]) || !Layout(v).dense) {
            At(v) = surface;
        } else if (last_use_[static_cast<size_t>(v)] >= 0) {
            GiveBlock(v, now_, last_use_[static_cast<size_t>(v)]);
            plan_.steps.push_back(CopyRows(attributes_.inputs[i], surface, At(v), true));
        }
    }
}

// The block of an operand that dies here and that the result may overwrite, or kNoBlock.
int Planner::InPlaceBlock(const GraphNode& node, int index) {
    const TensorType& type = Value(node.results[0]).type;
    for (const auto& [name, values] : node.arguments) {
        const int candidate = BlockOf(values[0]);
        if (candidate == kNoBlock || !FillsBlock(values[0]) ||
            last_use_[static_cast<size_t>(Layout(values[0]).root)] != index ||
            Value(values[0]).type.bytes() != type.bytes()) {
            continue;
        }
        // Everything else that reads this block must read it at the index that is written.
        bool safe = true;
        for (const auto& [other_name, others] : node.arguments) {
            for (int other : others) {
                if (BlockOf(other) != candidate) continue;
                if (!FillsBlock(other) || !(Value(other).type == type)) safe = false;
            }
        }
        if (safe) return candidate;
    }
    return kNoBlock;
}

void Planner::PlaceResults(const GraphNode& node, int index) {
    for (int v : node.results) {
        const int use = std::max(last_use_[static_cast<size_t>(v)], index);
        const int j = output_[static_cast<size_t>(v)];
        if (IsView(v)) {
            At(v) = Locate(Layout(v).root);
            // Readers of dense values know of no offset.
            const int64_t skipped = Layout(v).dense ? Layout(v).view.offset : 0;
            At(v).offset += static_cast<size_t>(skipped * mil::DTypeBits(Value(v).type.dtype) / 8);
            BlockOf(v) = BlockOf(Layout(v).root);
            continue;
        }
        if ((node.def->flags & kConstexpr) != 0) {
            Locate(v);
            continue;
        }
        if (j >= 0 && IsPacked(attributes_.outputs[static_cast<size_t>(j)])) {
            At(v) = {nullptr, 1 + static_cast<int>(graph_.inputs.size()) + j, 0};
            continue;
        }
        const int reuse = (node.def->flags & kInPlace) != 0 ? InPlaceBlock(node, index) : kNoBlock;
        if (reuse != kNoBlock) {
            blocks_[static_cast<size_t>(reuse)].last = EndOf(use);
            BlockOf(v) = reuse;
            At(v) = RefOf(reuse);
            continue;
        }
        GiveBlock(v, index, use);
    }
}

void Planner::CopyOut() {
    for (size_t j = 0; j < graph_.outputs.size(); ++j) {
        const int base = 1 + static_cast<int>(graph_.inputs.size() + j);
        const Ref ref = Locate(graph_.outputs[j]);
        if (ref.fixed == nullptr && ref.base == base) continue;
        plan_.steps.push_back(CopyRows(attributes_.outputs[j], {nullptr, base, 0}, ref, false));
    }
}

Status Planner::PlanNode(const GraphNode& node, int index) {
    now_ = index;
    PlaceResults(node, index);
    if (!IsView(node.results[0])) {
        Findings findings;
        PlanContext context(graph_, node, chip_, &findings, services_);
        range_.reset();
        Step step = node.def->plan(context);
        if (!step) {
            return Internal(node.name + " at line " + std::to_string(node.position.line) +
                            " could not be planned");
        }
        if ((node.def->flags & kConstexpr) != 0) {
            step(Run{});
        } else if (range_) {
            chain_.push_back(*std::exchange(range_, std::nullopt));
            if (EndOf(index) == index) FlushChain();
        } else {
            plan_.steps.push_back(std::move(step));
        }
    }
    return Status();
}

// One step for a chain: piece by piece, so that what one operation writes is still in the cache
// when the next one reads it.
void Planner::FlushChain() {
    constexpr int64_t kPiece = 4096;   // elements
    constexpr int64_t kGrain = 12288;  // worth waking a thread for, some microseconds
    ThreadPool* pool = services_.pool;
    const int64_t elements = chain_elements_;
    plan_.steps.push_back([pool, elements, chain = std::move(chain_)](const Run& run) {
        ParallelFor(pool, elements, kGrain, [&](int64_t begin, int64_t end, int) {
            for (int64_t piece = begin; piece < end; piece += kPiece) {
                const int64_t stop = std::min(end, piece + kPiece);
                for (const RangeStep& step : chain) step(run, piece, stop);
            }
        });
    });
    chain_.clear();
}

Status Planner::LayOut() {
    ArenaLayout layout = LayOutArena(blocks_);
    if (layout.bytes > kMaxArenaBytes) {
        return ResourceExhausted("the program needs " + std::to_string(layout.bytes) +
                                 " bytes of intermediates, more than the " +
                                 std::to_string(kMaxArenaBytes) + " that one may have");
    }
    plan_.arena_bytes = layout.bytes;
    plan_.lower_bound_bytes = layout.lower_bound;
    plan_.block_offsets = std::move(layout.offsets);
    return Status();
}

StatusOr<Plan> Planner::Make() {
    FindChains();
    FindLastUses();
    PlaceInputs();
    for (size_t i = 0; i < graph_.nodes.size(); ++i) {
        JAX_ANE_RETURN_IF_ERROR(PlanNode(graph_.nodes[i], static_cast<int>(i)));
    }
    CopyOut();
    JAX_ANE_RETURN_IF_ERROR(LayOut());
    return std::move(plan_);
}

}  // namespace

StatusOr<Plan> MakePlan(const Graph& graph, const device::ProgramAttributes& attributes,
                        const ChipTraits& chip, NumericsMode mode, const Engine& engine) {
    return Planner(graph, attributes, chip, mode, engine).Make();
}

}  // namespace jax_ane::software
