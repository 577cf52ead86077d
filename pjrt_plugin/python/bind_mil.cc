// SPDX-License-Identifier: Apache-2.0
// The software ANE as a tool: judge and run MIL text from Python. Arrays come and go as contiguous
// bytes.
#include <nanobind/nanobind.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstdlib>
#include <cstring>

#include "device/software/engine.h"
#include "device/software/limits.h"
#include "device/software/ops/evidence.h"
#include "device/software/ops/op.h"
#include "device/software/software_device.h"
#include "python/convert.h"

namespace jax_ane::python {
namespace {

namespace nb = nanobind;
using namespace software;  // NOLINT: this file is a thin layer over it
using device::BoundaryTensor;
using device::Surface;

nb::list ToTuples(const Findings& findings) {
    nb::list out;
    for (const Finding& f : findings) {
        out.append(
            nb::make_tuple(RuleName(f.rule), f.position.line, f.position.column, ToStr(f.message)));
    }
    return out;
}

struct SurfaceMemory {
    std::vector<std::shared_ptr<void>> owners;
    std::vector<Surface> surfaces;

    // In the order of `symbols`.
    void Make(const std::vector<BoundaryTensor>& tensors, const std::vector<std::string>& symbols) {
        for (const std::string& symbol : symbols) {
            const BoundaryTensor& t = Find(tensors, symbol);
            void* memory = std::aligned_alloc(64, t.size_bytes());
            if (memory == nullptr) Raise(ResourceExhausted("no memory for surface " + symbol));
            std::memset(memory, 0, t.size_bytes());
            owners.emplace_back(memory, std::free);
            surfaces.push_back({memory, t.size_bytes()});
        }
    }
    static const BoundaryTensor& Find(const std::vector<BoundaryTensor>& tensors,
                                      const std::string& symbol) {
        for (const BoundaryTensor& t : tensors) {
            if (t.symbol == symbol) return t;
        }
        std::abort();  // symbols are made of the tensors
    }
};

// Between packed bytes and a surface's padded rows.
void CopyRows(const BoundaryTensor& t, void* surface, void* packed, bool in) {
    const size_t row = static_cast<size_t>(t.width) * device::ElementSize(t.type);
    auto* padded = static_cast<uint8_t*>(surface);
    auto* dense = static_cast<uint8_t*>(packed);
    for (int64_t r = 0; r < t.planes * t.height; ++r, padded += t.row_stride, dense += row) {
        std::memcpy(in ? padded : dense, in ? dense : padded, row);
    }
}

size_t PackedBytes(const BoundaryTensor& t) {
    return static_cast<size_t>(t.planes * t.height * t.width) * device::ElementSize(t.type);
}

void WriteInputs(const nb::dict& inputs, const device::ProgramAttributes& attributes,
                 SurfaceMemory& memory) {
    for (size_t i = 0; i < attributes.input_symbols.size(); ++i) {
        const BoundaryTensor& t =
            SurfaceMemory::Find(attributes.inputs, attributes.input_symbols[i]);
        if (!inputs.contains(t.name.c_str())) {
            Raise(InvalidArgument("input " + t.name + " is missing"));
        }
        const auto bytes = nb::cast<nb::bytes>(inputs[t.name.c_str()]);
        if (bytes.size() != PackedBytes(t)) {
            Raise(InvalidArgument("input " + t.name + " has " + std::to_string(bytes.size()) +
                                  " bytes, the program wants " + std::to_string(PackedBytes(t))));
        }
        CopyRows(t, memory.surfaces[i].data, const_cast<char*>(bytes.c_str()), true);
    }
}

// {name: (dtype, dims, bytes)} in return order.
nb::dict ReadOutputs(const device::ProgramAttributes& attributes, const SurfaceMemory& memory) {
    nb::dict out;
    for (const BoundaryTensor& t : attributes.outputs) {
        std::vector<uint8_t> packed(PackedBytes(t));
        for (size_t j = 0; j < attributes.output_symbols.size(); ++j) {
            if (attributes.output_symbols[j] == t.symbol) {
                CopyRows(t, memory.surfaces[j].data, packed.data(), false);
            }
        }
        out[t.name.c_str()] =
            nb::make_tuple(device::ElementTypeName(t.type), t.dims,
                           nb::bytes(reinterpret_cast<const char*>(packed.data()), packed.size()));
    }
    return out;
}

// A loaded program, for the tool and its tests.
class Program {
  public:
    Program(const std::string& text, const nb::dict& blobs, const nb::dict& chip, bool exact)
        : text_(text),
          device_(MakeSoftwareDevice(Get(ReadChip(chip)),
                                     exact ? NumericsMode::kExact : NumericsMode::kFast)) {
        const device::Blobs files = ReadBlobs(blobs);
        nb::gil_scoped_release release;
        auto loaded = [&]() -> StatusOr<std::shared_ptr<device::LoadedProgram>> {
            JAX_ANE_ASSIGN_OR_RETURN(compiled_, device_->Compile(text, files));
            return device_->Load(compiled_);
        }();
        if (!loaded.ok()) {
            nb::gil_scoped_acquire acquire;
            Raise(loaded.status());
        }
        program_ = *std::move(loaded);
    }

    // The same program with other weights, beside this one.
    Program WithWeights(const nb::dict& blobs) const {
        Program other(*this);
        const device::Blobs files = ReadBlobs(blobs);
        other.program_ = Get(device_->LoadWithWeights(compiled_, files));
        return other;
    }

    nb::dict Run(const nb::dict& inputs) {
        const device::ProgramAttributes& attributes = program_->attributes();
        SurfaceMemory in, out;
        in.Make(attributes.inputs, attributes.input_symbols);
        out.Make(attributes.outputs, attributes.output_symbols);
        WriteInputs(inputs, attributes, in);
        Status status;
        {
            nb::gil_scoped_release release;
            status = program_->Evaluate(in.surfaces, out.surfaces);
        }
        if (!status.ok()) Raise(status);
        return ReadOutputs(attributes, out);
    }

    // Writes the inputs into surfaces of the program's own, for Evaluate and Results. What lies
    // there stays until the next Bind, so the engine may keep what it derives from it.
    void Bind(const nb::dict& inputs) {
        const device::ProgramAttributes& attributes = program_->attributes();
        bound_in_ = {};
        bound_out_ = {};
        contents_.clear();
        bound_in_.Make(attributes.inputs, attributes.input_symbols);
        bound_out_.Make(attributes.outputs, attributes.output_symbols);
        WriteInputs(inputs, attributes, bound_in_);
        for (Surface& surface : bound_in_.surfaces) {
            contents_.push_back(std::make_shared<device::SurfaceContents>());
            surface.contents = contents_.back().get();
        }
    }
    void Evaluate() {
        Status status;
        {
            nb::gil_scoped_release release;
            status = program_->Evaluate(bound_in_.surfaces, bound_out_.surfaces);
        }
        if (!status.ok()) Raise(status);
    }
    nb::dict Results() const { return ReadOutputs(program_->attributes(), bound_out_); }

    // [(name, dtype, dims, row stride, plane stride, bytes)] in declaration order.
    static nb::list Describe(const std::vector<BoundaryTensor>& tensors) {
        nb::list out;
        for (const BoundaryTensor& t : tensors) {
            out.append(nb::make_tuple(t.name, device::ElementTypeName(t.type), t.dims, t.row_stride,
                                      t.plane_stride, t.size_bytes()));
        }
        return out;
    }
    nb::list Inputs() const { return Describe(program_->attributes().inputs); }
    nb::list Outputs() const { return Describe(program_->attributes().outputs); }
    std::vector<std::string> InputSymbols() const { return program_->attributes().input_symbols; }
    std::vector<std::string> OutputSymbols() const { return program_->attributes().output_symbols; }
    const std::string& Text() const { return text_; }
    size_t ArenaBytes() const { return program_->arena_bytes(); }
    size_t LowerBoundBytes() const { return program_->lower_bound_bytes(); }
    size_t WeightBytes() const { return program_->weight_bytes(); }

  private:
    std::string text_;
    std::shared_ptr<device::Device> device_;
    std::shared_ptr<device::CompiledProgram> compiled_;
    std::shared_ptr<device::LoadedProgram> program_;
    SurfaceMemory bound_in_, bound_out_;
    std::vector<std::shared_ptr<device::SurfaceContents>> contents_;
};

}  // namespace

void BindMil(nb::module_& m) {
    nb::class_<Program>(m, "MilProgram", "A MIL program loaded on the software ANE.")
        .def(nb::init<const std::string&, const nb::dict&, const nb::dict&, bool>(),
             nb::arg("text"), nb::arg("blobs"), nb::arg("chip"), nb::arg("exact"))
        .def("run", &Program::Run, nb::arg("inputs"),
             "Maps {name: bytes} to {name: (dtype, dims, bytes)}.")
        .def("with_weights", &Program::WithWeights, nb::arg("blobs"),
             "Loads the program with other blobs, without compiling it again.")
        .def_prop_ro("text", &Program::Text)
        .def("bind", &Program::Bind, nb::arg("inputs"),
             "Puts {name: bytes} where evaluate() reads them, again and again.")
        .def("evaluate", &Program::Evaluate, "Runs on what bind() put there.")
        .def("results", &Program::Results, "{name: (dtype, dims, bytes)} of the last evaluate().")
        .def_prop_ro("inputs", &Program::Inputs)
        .def_prop_ro("outputs", &Program::Outputs)
        .def_prop_ro("input_symbols", &Program::InputSymbols)
        .def_prop_ro("output_symbols", &Program::OutputSymbols)
        .def_prop_ro("arena_bytes", &Program::ArenaBytes)
        .def_prop_ro("lower_bound_bytes", &Program::LowerBoundBytes)
        .def_prop_ro("weight_bytes", &Program::WeightBytes);
    m.def(
        "mil_run",
        [](const std::string& text, const nb::dict& inputs, const nb::dict& blobs,
           const nb::dict& chip,
           bool exact) { return Program(text, blobs, chip, exact).Run(inputs); },
        nb::arg("text"), nb::arg("inputs"), nb::arg("blobs"), nb::arg("chip"),
        nb::arg("exact") = true, "Compiles, loads and runs a MIL program once.");
    m.def(
        "mil_check",
        [](const std::string& text, const nb::dict& blobs, const nb::dict& chip) {
            const ChipTraits traits = Get(ReadChip(chip));
            return ToTuples(CheckProgram(text, ReadBlobs(blobs), traits));
        },
        nb::arg("text"), nb::arg("blobs"), nb::arg("chip"),
        "Every refusal of a program as (id, line, column, message).");
    m.def(
        "mil_ops",
        [] {
            constexpr const char* kClasses[] = {"bit-exact", "bounded", "unknown"};
            nb::list out;
            for (const OpDef* op : AllOps()) {
                out.append(nb::make_tuple(op->name, kClasses[static_cast<int>(op->numerics)]));
            }
            return out;
        },
        "The modelled operations as (name, numeric class), sorted.");
    m.def(
        "mil_evidence",
        [](const std::string& op) -> nb::object {
            const Evidence* row = FindEvidence(op);
            if (row == nullptr) return nb::none();
            return nb::make_tuple(row->chips, row->source, row->bound);
        },
        nb::arg("op"), "Why an operation has its class: (chips, source, bound), or None.");
    m.def(
        "configure",
        [](int threads, const std::string& isa) {
            const Status status = ConfigureEngine(threads, isa);
            if (!status.ok()) throw nb::value_error(status.message().c_str());
        },
        nb::arg("threads"), nb::arg("isa"), "Sets threads and instruction set for later loads.");
    m.def(
        "fma_peak",
        [](double seconds) {
            nb::gil_scoped_release release;
            return MeasureFmaPeak(*CurrentEngine().pool, seconds);
        },
        nb::arg("seconds"), "Float32 operations a second of the engine's threads, in registers.");
    m.def(
        "read_bandwidth",
        [](size_t bytes, double seconds) {
            nb::gil_scoped_release release;
            return MeasureReadBandwidth(*CurrentEngine().pool, bytes, seconds);
        },
        nb::arg("bytes"), nb::arg("seconds"),
        "Bytes a second that the engine's threads read from this much memory.");
    m.def(
        "isa", [] { return std::string(CurrentEngine().kernels->isa); },
        "The instruction set of the kernels in use.");
}

}  // namespace jax_ane::python
