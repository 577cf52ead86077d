// SPDX-License-Identifier: Apache-2.0
// Binding and calling of loaded programs.
#include "runtime/program_table.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "runtime/convert.h"
#include "runtime/images.h"
#include "util/aligned_memory.h"

namespace jax_ane::runtime {

namespace {

constexpr size_t kAlignment = 64;

int64_t NowNanoseconds() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

// Finds tensor `name` among the live list and its index among the symbols, as the device told them.
template <typename Port>
Status BindPort(const std::vector<device::BoundaryTensor>& tensors,
                const std::vector<std::string>& symbols, const std::string& name, Port& port) {
    for (const auto& tensor : tensors) {
        if (tensor.name != name) continue;
        auto it = std::find(symbols.begin(), symbols.end(), tensor.symbol);
        if (it == symbols.end()) {
            return Internal("the loaded program has no symbol for tensor " + name);
        }
        if (tensor.row_stride % kAlignment != 0 || tensor.row_stride < tensor.width * 2 ||
            tensor.plane_stride < tensor.row_stride * tensor.height) {
            return Internal("the loaded program reports impossible strides for tensor " + name);
        }
        port.symbol = static_cast<size_t>(it - symbols.begin());
        port.tensor = tensor;
        return Status();
    }
    return Internal("the loaded program has no tensor " + name);
}

}  // namespace

// One set of surfaces: a call takes a set, so calls may overlap.
struct BoundProgram::Surfaces {
    // Memory of an input is allocated when a call has no image of it, and given back when one has.
    struct Input {
        AlignedMemory memory;
        ImageCache images;
        std::shared_ptr<Image> image;  // in use by this call
    };
    std::vector<Input> own;                // by argument
    std::vector<AlignedMemory> memory;     // of the outputs
    std::vector<device::Surface> inputs;   // by symbol index
    std::vector<device::Surface> outputs;  // by symbol index
};

StatusOr<std::shared_ptr<BoundProgram>> BoundProgram::Create(
    std::shared_ptr<device::Device> device, std::shared_ptr<device::CompiledProgram> compiled,
    std::vector<std::string> input_names, std::vector<std::string> output_names, std::string name) {
    std::shared_ptr<BoundProgram> program(new BoundProgram());
    program->device_ = std::move(device);
    program->compiled_ = std::move(compiled);
    program->engine_ = software::CurrentEngine();
    program->name_ = std::move(name);
    JAX_ANE_ASSIGN_OR_RETURN(std::shared_ptr<device::LoadedProgram> loaded, program->Loaded());
    const device::ProgramAttributes& attributes = loaded->attributes();
    if (attributes.inputs.size() != input_names.size() ||
        attributes.outputs.size() != output_names.size()) {
        return Internal("program " + program->name_ +
                        ": the loaded program has another number of inputs or outputs");
    }
    for (const std::string& input : input_names) {
        JAX_ANE_RETURN_IF_ERROR(BindPort(attributes.inputs, attributes.input_symbols, input,
                                         program->inputs_.emplace_back()));
    }
    for (const std::string& output : output_names) {
        JAX_ANE_RETURN_IF_ERROR(BindPort(attributes.outputs, attributes.output_symbols, output,
                                         program->outputs_.emplace_back()));
    }
    for (const Port& port : program->inputs_) {
        program->input_bytes_ += static_cast<int64_t>(port.tensor.size_bytes());
    }
    for (const Port& port : program->outputs_) {
        program->output_bytes_ += static_cast<int64_t>(port.tensor.size_bytes());
    }
    program->arena_bytes_ = loaded->arena_bytes();
    program->weight_bytes_ = loaded->weight_bytes();
    return program;
}

StatusOr<std::shared_ptr<device::LoadedProgram>> BoundProgram::Loaded() {
    last_used_.store(NowNanoseconds(), std::memory_order_relaxed);
    std::lock_guard<std::mutex> lock(mutex_);
    while (loaded_ == nullptr) {
        auto loaded = device_->Load(compiled_);
        if (loaded.ok()) {
            loaded_ = *loaded;
            counters_.loads.fetch_add(1, std::memory_order_relaxed);
            break;
        }
        // A chip holds a limited number of programs: make room and try again.
        if (loaded.status().code() != StatusCode::kResourceExhausted ||
            !ProgramTable::Get().UnloadOldest(this)) {
            return loaded.status();
        }
    }
    return loaded_;
}

bool BoundProgram::Unload() {
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock() || loaded_ == nullptr) return false;
    loaded_.reset();
    free_surfaces_.clear();
    return true;
}

StatusOr<AlignedMemory> BoundProgram::AllocateSurface(const Port& port) const {
    AlignedMemory memory = AllocateAligned(port.tensor.size_bytes());
    if (memory == nullptr) {
        return ResourceExhausted("program " + name_ + ": no memory for a surface of " +
                                 std::to_string(port.tensor.size_bytes()) + " bytes");
    }
    return memory;
}

Status BoundProgram::BindInput(const HostArray& array, const Port& port, Surfaces& surfaces,
                               size_t index) const {
    Surfaces::Input& own = surfaces.own[index];
    device::Surface& surface = surfaces.inputs[port.symbol];
    own.image = own.images.Find(engine_, array, port.tensor);
    if (own.image != nullptr) {
        own.memory.reset();
        surface = own.image->surface();
        return Status();
    }
    if (own.memory == nullptr) {
        JAX_ANE_ASSIGN_OR_RETURN(own.memory, AllocateSurface(port));
    }
    surface = {own.memory.get(), port.tensor.size_bytes()};
    return WriteSurface(engine_, array, port.tensor, surface.data);
}

StatusOr<std::unique_ptr<BoundProgram::Surfaces>> BoundProgram::TakeSurfaces() {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        if (!free_surfaces_.empty()) {
            auto surfaces = std::move(free_surfaces_.back());
            free_surfaces_.pop_back();
            return surfaces;
        }
    }
    auto surfaces = std::make_unique<Surfaces>();
    surfaces->own.resize(inputs_.size());
    surfaces->inputs.resize(inputs_.size());
    surfaces->outputs.resize(outputs_.size());
    for (const Port& port : outputs_) {
        JAX_ANE_ASSIGN_OR_RETURN(AlignedMemory memory, AllocateSurface(port));
        surfaces->outputs[port.symbol] = {memory.get(), port.tensor.size_bytes()};
        surfaces->memory.push_back(std::move(memory));
    }
    return surfaces;
}

void BoundProgram::ReturnSurfaces(std::unique_ptr<Surfaces> surfaces) {
    for (Surfaces::Input& own : surfaces->own) own.image.reset();
    std::lock_guard<std::mutex> lock(mutex_);
    free_surfaces_.push_back(std::move(surfaces));
}

template <typename Fn>
Status BoundProgram::ForEachPort(const std::vector<Port>& ports, Fn&& fn) const {
    // Tensors are shared out whole; only a lone large one is worth splitting inside.
    constexpr int64_t kBytesWorthAThread = 128 * 1024;
    const int64_t bytes = &ports == &inputs_ ? input_bytes_ : output_bytes_;
    const auto count = static_cast<int64_t>(ports.size());
    std::mutex mutex;
    Status first;
    ParallelFor(engine_.pool.get(), count, bytes < kBytesWorthAThread ? count : 1,
                [&](int64_t begin, int64_t end, int) {
                    for (int64_t i = begin; i < end; ++i) {
                        Status status = fn(static_cast<size_t>(i), ports[static_cast<size_t>(i)]);
                        if (status.ok()) continue;
                        std::lock_guard<std::mutex> lock(mutex);
                        if (first.ok()) first = std::move(status);
                    }
                });
    return first;
}

Status BoundProgram::Run(std::span<const HostArray> inputs, std::span<const HostArray> outputs) {
    if (inputs.size() != inputs_.size() || outputs.size() != outputs_.size()) {
        return Internal("program " + name_ + ": called with another number of arrays");
    }
    int64_t start = NowNanoseconds();
    JAX_ANE_ASSIGN_OR_RETURN(std::shared_ptr<device::LoadedProgram> loaded, Loaded());
    JAX_ANE_ASSIGN_OR_RETURN(std::unique_ptr<Surfaces> surfaces, TakeSurfaces());
    JAX_ANE_RETURN_IF_ERROR(ForEachPort(inputs_, [&](size_t i, const Port& port) {
        return BindInput(inputs[i], port, *surfaces, i);
    }));
    Status status = loaded->Evaluate(surfaces->inputs, surfaces->outputs);
    if (!status.ok()) {
        return Status(status.code(), "program " + name_ + ": " + status.message());
    }
    JAX_ANE_RETURN_IF_ERROR(ForEachPort(outputs_, [&](size_t i, const Port& port) {
        const void* surface = surfaces->outputs[port.symbol].data;
        return ReadSurface(engine_, surface, port.tensor, outputs[i]);
    }));
    ReturnSurfaces(std::move(surfaces));
    counters_.evaluations.fetch_add(1, std::memory_order_relaxed);
    counters_.bytes_in.fetch_add(input_bytes_, std::memory_order_relaxed);
    counters_.bytes_out.fetch_add(output_bytes_, std::memory_order_relaxed);
    counters_.nanoseconds.fetch_add(NowNanoseconds() - start, std::memory_order_relaxed);
    return Status();
}

void ProgramTotals::Add(const ProgramCounters& counters) {
    evaluations += counters.evaluations.load(std::memory_order_relaxed);
    bytes_in += counters.bytes_in.load(std::memory_order_relaxed);
    bytes_out += counters.bytes_out.load(std::memory_order_relaxed);
    nanoseconds += counters.nanoseconds.load(std::memory_order_relaxed);
    loads += counters.loads.load(std::memory_order_relaxed);
}

ProgramTable& ProgramTable::Get() {
    // Never destroyed: calls may arrive while the process exits.
    static ProgramTable* table = new ProgramTable();
    return *table;
}

int64_t ProgramTable::Add(std::shared_ptr<BoundProgram> program) {
    std::lock_guard<std::mutex> lock(mutex_);
    programs_.push_back(std::move(program));
    return static_cast<int64_t>(programs_.size()) - 1;
}

void ProgramTable::Remove(int64_t id) {
    std::shared_ptr<BoundProgram> dying;  // destroyed outside of the lock
    std::lock_guard<std::mutex> lock(mutex_);
    if (id < 0 || id >= static_cast<int64_t>(programs_.size()) || !programs_[id]) return;
    dying.swap(programs_[id]);
    removed_[dying->name()].Add(dying->counters());
}

std::map<std::string, ProgramTotals> ProgramTable::Totals() {
    std::lock_guard<std::mutex> lock(mutex_);
    std::map<std::string, ProgramTotals> totals = removed_;
    for (const auto& program : programs_) {
        if (program != nullptr) totals[program->name()].Add(program->counters());
    }
    return totals;
}

std::shared_ptr<BoundProgram> ProgramTable::Find(int64_t id) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (id < 0 || id >= static_cast<int64_t>(programs_.size())) return nullptr;
    return programs_[id];
}

std::vector<std::shared_ptr<BoundProgram>> ProgramTable::All() {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<std::shared_ptr<BoundProgram>> all;
    for (const auto& program : programs_) {
        if (program != nullptr) all.push_back(program);
    }
    return all;
}

bool ProgramTable::UnloadOldest(const BoundProgram* except) {
    std::vector<std::shared_ptr<BoundProgram>> all = All();
    std::sort(all.begin(), all.end(),
              [](const auto& a, const auto& b) { return a->last_used() < b->last_used(); });
    return std::any_of(all.begin(), all.end(), [&](const auto& program) {
        return program.get() != except && program->Unload();
    });
}

}  // namespace jax_ane::runtime
