// SPDX-License-Identifier: Apache-2.0
#include "device/software/ops/int8_step.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "device/software/ops/conv.h"

namespace jax_ane::software {
namespace {

constexpr char kBytes[] = "int8 activations";  // no MIL argument can be called so

bool IsByte(DType type) { return type == DType::kInt8 || type == DType::kUint8; }

// Which arguments are the activations and the weights of a product.
struct Names {
    const char* data = nullptr;
    const char* weight = nullptr;
};

Names NamesOf(const std::string& op) {
    if (op == "conv" || op == "linear") return {"x", "weight"};
    if (op == "matmul") return {"x", "y"};
    return {};
}

const GraphNode* Producer(const Graph& graph, const GraphNode& node, const char* argument) {
    for (const auto& [name, values] : node.arguments) {
        if (name != argument) continue;
        const int producer = graph.values[static_cast<size_t>(values[0])].producer;
        return producer < 0 ? nullptr : &graph.nodes[static_cast<size_t>(producer)];
    }
    return nullptr;
}

// How a constexpr (or a dequantize of a constant) calls its parts.
struct WeightNames {
    const char *data, *zero;
};

std::optional<WeightNames> WeightsOf(const Graph& graph, const GraphNode& node) {
    std::optional<WeightNames> names;
    if (node.name == "constexpr_affine_dequantize") names = {"quantized_data", "zero_point"};
    if (node.name == "constexpr_blockwise_shift_scale") names = {"data", "offset"};
    if (node.name == "dequantize") names = {"input", "zero_point"};
    if (!names) return std::nullopt;
    for (const auto& [name, values] : node.arguments) {
        const GraphValue& value = graph.values[static_cast<size_t>(values[0])];
        const bool relevant = name == names->data || name == names->zero || name == "scale";
        if (relevant && (!value.constant || value.is_deferred)) return std::nullopt;
        if (name == names->data && !IsByte(value.type.dtype)) return std::nullopt;
        if (name == names->zero && !IsByte(value.type.dtype)) return std::nullopt;
    }
    return names;
}

// A plain reader of constants; these nodes were checked when the graph was built.
OpContext Reader(const PlanContext& p, const GraphNode& node) {
    return OpContext(p.graph(), node, p.chip(), nullptr);
}

// Weights as integers [outputs, k] and the scale of each output.
struct Weights {
    std::shared_ptr<std::vector<int16_t>> values;
    std::vector<double> scale;
};

// The scale (or zero point) of each of `outputs` rows along `axis` of the data, or empty when it
// varies along another axis.
std::vector<double> PerOutput(const OpContext& c, const char* name, const TensorType& data,
                              int64_t axis, int64_t given_axis) {
    const int64_t outputs = data.dims[static_cast<size_t>(axis)];
    if (!c.Has(name)) return std::vector<double>(static_cast<size_t>(outputs), 0);
    std::vector<double> values = c.Reals(name);
    if (values.size() == 1) return std::vector<double>(static_cast<size_t>(outputs), values[0]);
    const auto& dims = c.Dims(name);
    if (dims.size() == 1 && data.dims.size() != 1) {
        return given_axis == axis ? values : std::vector<double>();
    }
    for (size_t i = 0; i < dims.size(); ++i) {
        const bool wanted = static_cast<int64_t>(i) == axis;
        if (dims[i] != (wanted ? outputs : 1)) return {};
    }
    return values;
}

// `axis` is the outputs' axis in the data; the others, in order, are k. False when the weights
// cannot go by the integer path.
bool ReadWeights(const PlanContext& p, const GraphNode& node, int64_t axis, Weights* w) {
    const WeightNames names = *WeightsOf(p.graph(), node);
    OpContext c = Reader(p, node);
    const GraphValue& data = c.Value(names.data);
    int64_t given = c.Int("axis", 0);
    if (given < 0) given += data.type.rank();
    const std::vector<double> zero = PerOutput(c, names.zero, data.type, axis, given);
    w->scale = PerOutput(c, "scale", data.type, axis, given);
    if (zero.empty() || w->scale.empty()) return false;
    const int64_t outputs = data.type.dims[static_cast<size_t>(axis)], n = data.type.elements();
    int64_t inner = 1;
    for (size_t i = static_cast<size_t>(axis) + 1; i < data.type.dims.size(); ++i) {
        inner *= data.type.dims[i];
    }
    const int64_t k = n / outputs;
    w->values = std::make_shared<std::vector<int16_t>>(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) {
        const int64_t o = i / inner % outputs, at = i / (inner * outputs) * inner + i % inner;
        const uint8_t byte = data.constant->bytes[i];
        const int q = data.type.dtype == DType::kInt8 ? static_cast<int8_t>(byte) : byte;
        (*w->values)[static_cast<size_t>(o * k + at)] =
            static_cast<int16_t>(q - static_cast<int>(zero[static_cast<size_t>(o)]));
    }
    return true;
}

// The exact sum of k products of at most 255 * 255.
int64_t Dot(const int16_t* a, const int16_t* b, int64_t k) {
    int64_t total = 0;
    for (int64_t begin = 0; begin < k; begin += 32768) {
        const int64_t end = std::min(k, begin + 32768);
        int32_t sum = 0;
        for (int64_t i = begin; i < end; ++i) sum += a[i] * b[i];
        total += sum;
    }
    return total;
}

struct Int8Plan {
    Weights weights;
    int64_t k = 0;
    double scale = 1;  // of the activations
    int zero = 0;
    bool is_signed = true;
    bool has_bias = false;
    Ref bytes, bias;

    int16_t Read(uint8_t byte) const {
        const int q = is_signed ? static_cast<int8_t>(byte) : byte;
        return static_cast<int16_t>(q - zero);
    }
    // One output: infinite from 2^31 on whatever the scales, else scaled, biased, rounded once.
    Half Finish(const Run& run, const int16_t* row, int64_t o) const {
        const int64_t sum = Dot(row, weights.values->data() + o * k, k);
        if (std::abs(sum) >= int64_t{1} << 31) return sum > 0 ? kHalfInf : kHalfNegInf;
        const double bias_value = has_bias ? HalfToDouble(run.At<Half>(bias)[o]) : 0;
        return DoubleToHalfAway(
            static_cast<double>(sum) * scale * weights.scale[static_cast<size_t>(o)] + bias_value);
    }
};

// Rows of x times rows of the weights: linear, and matmul by one matrix.
Step PlanRows(PlanContext& p, Int8Plan g) {
    const int64_t outputs = static_cast<int64_t>(g.weights.scale.size());
    const int64_t rows = p.Type("x").elements() / g.k;
    const Ref out = p.Out();
    ThreadPool* pool = p.pool();
    return [=, g = std::move(g)](const Run& run) {
        ParallelFor(pool, rows, 1, [&](int64_t begin, int64_t end, int) {
            std::vector<int16_t> row(static_cast<size_t>(g.k));
            for (int64_t r = begin; r < end; ++r) {
                const uint8_t* from = run.At<uint8_t>(g.bytes) + r * g.k;
                for (int64_t i = 0; i < g.k; ++i) row[static_cast<size_t>(i)] = g.Read(from[i]);
                for (int64_t o = 0; o < outputs; ++o) {
                    run.At<Half>(out)[r * outputs + o] = g.Finish(run, row.data(), o);
                }
            }
        });
    };
}

// The taps of one output of one group; what lies outside counts as zero.
void GatherTaps(const Int8Plan& g, const Window& w, const uint8_t* x, int64_t channels, int64_t oh,
                int64_t ow, int16_t* row) {
    for (int64_t c = 0; c < channels; ++c) {
        for (int64_t kh = 0; kh < w.kernel[0]; ++kh) {
            for (int64_t kw = 0; kw < w.kernel[1]; ++kw) {
                const int64_t h = oh * w.stride[0] + kh * w.dilation[0] - w.before[0];
                const int64_t i = ow * w.stride[1] + kw * w.dilation[1] - w.before[1];
                const bool inside = h >= 0 && h < w.in[0] && i >= 0 && i < w.in[1];
                *row++ = inside ? g.Read(x[(c * w.in[0] + h) * w.in[1] + i]) : int16_t{0};
            }
        }
    }
}

Step PlanConvolution(PlanContext& p, Int8Plan g) {
    ConvShape s;
    ReadConv(p, &s);
    const Window w = s.window;
    const int64_t in_group = s.in_channels / s.groups, out_group = s.out_channels / s.groups;
    const int64_t in_plane = w.in[0] * w.in[1], out_plane = w.out[0] * w.out[1];
    const Ref out = p.Out();
    ThreadPool* pool = p.pool();
    return [=, g = std::move(g)](const Run& run) {
        ParallelFor(pool, s.batch * s.groups * out_plane, 1, [&](int64_t begin, int64_t end, int) {
            std::vector<int16_t> row(static_cast<size_t>(g.k));
            for (int64_t r = begin; r < end; ++r) {
                const int64_t ng = r / out_plane, at = r % out_plane;
                GatherTaps(g, w, run.At<uint8_t>(g.bytes) + ng * in_group * in_plane, in_group,
                           at / w.out[1], at % w.out[1], row.data());
                for (int64_t o = 0; o < out_group; ++o) {
                    run.At<Half>(out)[(ng * out_group + o) * out_plane + at] =
                        g.Finish(run, row.data(), ng % s.groups * out_group + o);
                }
            }
        });
    };
}

}  // namespace

void MarkInt8(Graph* graph) {
    for (GraphNode& node : graph->nodes) {
        const Names names = NamesOf(node.name);
        if (names.data == nullptr) continue;
        const GraphNode* data = Producer(*graph, node, names.data);
        const GraphNode* weight = Producer(*graph, node, names.weight);
        if (data == nullptr || weight == nullptr || data->name != "dequantize" ||
            !WeightsOf(*graph, *weight)) {
            continue;
        }
        for (const auto& [name, values] : data->arguments) {
            if (name == "input") {
                node.arguments.emplace_back(kBytes, std::vector<int>{values[0]});
                break;
            }
        }
    }
}

Step PlanInt8(PlanContext& p) {
    if (!p.Has(kBytes) || p.mode() != NumericsMode::kExact) return {};
    const Names names = NamesOf(p.node().name);
    const GraphNode& producer = *Producer(p.graph(), p.node(), names.data);
    OpContext data = Reader(p, producer);
    const std::vector<int64_t>& w = p.Dims(names.weight);
    int64_t axis = 0;
    if (p.node().name == "matmul") {
        if (w.size() != 2 || p.Bool("transpose_x", false)) return {};
        axis = p.Bool("transpose_y", false) ? 0 : 1;
    }
    Int8Plan g;
    if (data.Type("scale").rank() != 0 ||
        !ReadWeights(p, *Producer(p.graph(), p.node(), names.weight), axis, &g.weights)) {
        return {};
    }
    g.k = p.Type(names.weight).elements() / static_cast<int64_t>(g.weights.scale.size());
    g.scale = data.Real("scale", 1);
    g.zero = static_cast<int>(data.Int("zero_point", 0));
    g.is_signed = data.Type("input").dtype == DType::kInt8;
    g.bytes = p.In(kBytes);
    g.has_bias = p.Has("bias");
    if (g.has_bias) g.bias = p.In("bias");
    return p.node().name == "conv" ? PlanConvolution(p, std::move(g)) : PlanRows(p, std::move(g));
}

}  // namespace jax_ane::software
