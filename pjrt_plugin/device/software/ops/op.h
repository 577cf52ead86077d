// SPDX-License-Identifier: Apache-2.0
// What an operation is to the software ANE: a row of the op table with its arguments, its type rule
// and its planner.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "device/software/graph.h"
#include "device/software/kernels/kernels.h"
#include "device/software/strided_view.h"

namespace jax_ane::software {

// How far the results can be trusted to be the chip's.
enum class NumericClass : uint8_t {
    kBitExact,  // reproduces published bits or figures
    kBounded,   // within a documented tolerance
    kUnknown,   // no data from hardware
};

// ---- While types are inferred
// -----------------------------------------------------------------------------------------

// One node with its arguments: looks values up by argument name, collects the result types and the
// refusals.
class OpContext {
  public:
    OpContext(const Graph& graph, const GraphNode& node, const ChipTraits& chip, Findings* findings)
        : graph_(graph), node_(node), chip_(chip), findings_(findings) {}

    const GraphNode& node() const { return node_; }
    const ChipTraits& chip() const { return chip_; }
    const Graph& graph() const { return graph_; }

    bool Has(std::string_view name) const { return !Indices(name).empty(); }
    const std::vector<int>& Indices(std::string_view name) const;
    const GraphValue& Value(std::string_view name) const {
        return graph_.values[static_cast<size_t>(Indices(name)[0])];
    }
    const TensorType& Type(std::string_view name) const { return Value(name).type; }
    const std::vector<int64_t>& Dims(std::string_view name) const { return Type(name).dims; }

    // Constant arguments; the default when absent. Kinds were checked against the op's
    // specification.
    std::vector<int64_t> Ints(std::string_view name, std::vector<int64_t> otherwise = {}) const;
    int64_t Int(std::string_view name, int64_t otherwise) const;
    double Real(std::string_view name, double otherwise) const;
    std::vector<double> Reals(std::string_view name) const;  // empty when absent
    bool Bool(std::string_view name, bool otherwise) const;
    std::string String(std::string_view name, std::string otherwise) const;

    // An axis argument in [-rank, rank), made non-negative. False after a refusal.
    bool Axis(std::string_view name, int64_t otherwise, int64_t rank, int64_t* axis);
    // Distinct axes, sorted; absent means all.
    bool Axes(std::string_view name, int64_t rank, std::vector<int64_t>* axes);

    // Refuses at the operation's position; returns false.
    bool Fail(Rule rule, std::string message);
    // The common refusals.
    bool BadValue(std::string_view argument, std::string why);

    std::vector<TensorType> results;

  private:
    const Graph& graph_;
    const GraphNode& node_;
    const ChipTraits& chip_;
    Findings* findings_;
};

// Refuses types that cannot be moved about inside a program.
bool MovableType(OpContext& c, const TensorType& type);

// Refuses factors that the chip's shuffles do not take.
bool CheckBlock(OpContext& c, std::string_view argument, int64_t block);

bool BroadcastDims(const std::vector<int64_t>& a, const std::vector<int64_t>& b,
                   std::vector<int64_t>* out);

// ---- While a loaded program is planned, and when it runs
// ----------------------------------------------------------------

// Where a value lies at run time: at a fixed address (constants), or at an offset from one of the
// run's bases.
struct Ref {
    const void* fixed = nullptr;
    int base = 0;
    size_t offset = 0;
};

// One evaluation: the bases of its arena (0) and of the surfaces that are used in place, and for
// each base the contents that the surface's owner vouches for, or null.
struct Run {
    uint8_t* const* bases = nullptr;
    device::SurfaceContents* const* contents = nullptr;
    template <typename T>
    T* At(const Ref& ref) const {
        const void* p = ref.fixed != nullptr ? ref.fixed : bases[ref.base] + ref.offset;
        return static_cast<T*>(const_cast<void*>(p));
    }
};

using Step = std::function<void(const Run&)>;
// Part of an elementwise operation: elements [begin, end) of its result.
using RangeStep = std::function<void(const Run&, int64_t begin, int64_t end)>;

class PlanContext : public OpContext {
  public:
    struct Services {
        const KernelTable* kernels;
        ThreadPool* pool;
        NumericsMode mode;
        // Where a value lies; copies a constant into the program the first time.
        std::function<Ref(int value)> locate;
        // Memory in the arena that lives while this node runs.
        std::function<Ref(size_t bytes)> scratch;
        // Memory that lives as long as the loaded program, 64-byte aligned.
        std::function<uint8_t*(size_t bytes)> hold;
        // How a value lies where it was not given dense memory; null for dense values. Its `locate`
        // is then that of the value behind it.
        std::function<const StridedView*(int value)> strided;
        // Takes an elementwise operation's step, which the planner may run part by part between
        // those of its neighbours.
        std::function<void(int64_t elements, RangeStep step)> elementwise;
        // Keeps an object as long as the loaded program.
        std::function<void(std::shared_ptr<const void>)> keep;
    };
    PlanContext(const Graph& graph, const GraphNode& node, const ChipTraits& chip,
                Findings* findings, const Services& services)
        : OpContext(graph, node, chip, findings), services_(services) {}

    // Constants have `fixed` set, so that a planner may read (and pack) them at load.
    Ref In(std::string_view name, size_t i = 0) const { return services_.locate(Indices(name)[i]); }
    const StridedView* StridedViewOf(std::string_view name, size_t i = 0) const {
        return services_.strided(Indices(name)[i]);
    }
    // How an operand lies, dense or not.
    StridedView LayoutOf(std::string_view name, size_t i = 0) const {
        const StridedView* view = StridedViewOf(name, i);
        return view != nullptr ? *view : DenseView(InType(name, i).dims);
    }
    Ref Out(size_t i = 0) const { return services_.locate(node().results[i]); }
    const TensorType& InType(std::string_view name, size_t i) const {
        return graph().values[static_cast<size_t>(Indices(name)[i])].type;
    }
    const TensorType& OutType(size_t i = 0) const {
        return graph().values[static_cast<size_t>(node().results[i])].type;
    }
    // What a plan with kElementwise returns: `step` covers the result's elements in any pieces and
    // any order, and reads full-sized operands at those elements only.
    Step Elementwise(RangeStep step) {
        services_.elementwise(OutType().elements(), std::move(step));
        return [](const Run&) {};
    }
    Ref Scratch(size_t bytes) { return services_.scratch(bytes); }
    uint8_t* Hold(size_t bytes) { return services_.hold(bytes); }
    void Keep(std::shared_ptr<const void> object) { services_.keep(std::move(object)); }
    const KernelTable& kernels() const { return *services_.kernels; }
    ThreadPool* pool() const { return services_.pool; }
    int threads() const { return pool() == nullptr ? 1 : pool()->size(); }
    NumericsMode mode() const { return services_.mode; }
    int mode_index() const { return static_cast<int>(services_.mode); }

  private:
    const Services& services_;
};

enum OpFlags : uint32_t {
    kPlain = 0,
    kView = 1,         // the result is the operand `x` under another shape: no step runs
    kInPlace = 2,      // the result may overwrite an operand of the same size
    kConstexpr = 4,    // data in attributes; the result is a constant made at load
    kJoins = 8,        // reads any strides in place
    kWalks = 16,       // reads strides in place where rows are contiguous and nothing broadcasts
    kMultiplies = 32,  // reads any strides in place, and gathered rows on its left side
    kElementwise = 64  // its plan goes through PlanContext::Elementwise
};

// `arguments` is a comma-separated list of `name` with suffixes: `?` optional, `!` constant, `*`
// one or more values; then a kind after a colon: none fp16, `b` bool, `i` integers, `s` string, `r`
// real scalar or vector, `a` anything.
struct OpDef {
    const char* name;
    const char* arguments;
    NumericClass numerics;
    uint32_t flags;
    bool (*infer)(OpContext&);
    Step (*plan)(PlanContext&);
    // For ops whose result is a view of `x`: turns the layout of x into that of the result. False
    // if it is none on this chip. Ops with kView are views whatever this is.
    bool (*view)(OpContext&, StridedView*) = nullptr;
};

struct OpTable {
    const OpDef* rows;
    size_t count;
};

// One table a family.
OpTable MatmulOps();
OpTable ConvOps();
OpTable ElementwiseOps();
OpTable ReduceOps();
OpTable NormOps();
OpTable ShapeOps();
OpTable ViewOps();
OpTable IndexOps();
OpTable PoolOps();
OpTable CastOps();
OpTable ConstexprOps();
OpTable SparseConstexprOps();
OpTable ConvTransposeOps();
OpTable ResizeOps();
OpTable ResampleOps();
OpTable PadOps();
OpTable BatchOps();
OpTable ChannelOps();
OpTable FillOps();
OpTable SortOps();
OpTable GatherOps();
OpTable AttentionOps();
OpTable QuantizeOps();
OpTable LogicOps();

// Every row of every table, sorted by name.
std::vector<const OpDef*> AllOps();
// Null when the software ANE has no such op.
const OpDef* FindOp(std::string_view name);
// Why a program of an opset (15 for ios15) cannot have an op, or nothing.
std::optional<std::pair<Rule, std::string>> RefuseOp(std::string_view name, int opset);

}  // namespace jax_ane::software
