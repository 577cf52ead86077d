// SPDX-License-Identifier: Apache-2.0
// Binding and calling of loaded programs.
#include "runtime/program_table.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <thread>
#include <unordered_map>

#include "runtime/convert.h"
#include "runtime/images.h"
#include "runtime/weights.h"
#include "util/aligned_memory.h"
#include "util/half.h"
#include "util/trace.h"

namespace jax_ane::runtime {

namespace {

constexpr size_t kAlignment = 64;

int64_t NowNanoseconds() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

// A damaged description must not become a wrong address.
Status CheckLayout(const device::BoundaryTensor& t) {
    constexpr int64_t kMost = int64_t{1} << 40;
    const auto element = static_cast<int64_t>(device::ElementSize(t.type));
    const auto sane = [](int64_t n) { return n >= 0 && n <= kMost; };
    const bool good = element > 0 && sane(t.planes) && sane(t.height) && sane(t.width) &&
                      sane(t.row_stride) && sane(t.plane_stride) &&
                      t.row_stride % static_cast<int64_t>(kAlignment) == 0 &&
                      t.row_stride / element >= t.width &&
                      (t.height == 0 || t.plane_stride / t.height >= t.row_stride) &&
                      (t.planes == 0 || t.plane_stride <= kMost / t.planes);
    if (good) return Status();
    return Internal("the loaded program reports an impossible layout for tensor " + t.name);
}

// Whether a dense array of the caller's is already what the engine reads and writes.
bool IsSurface(const HostArray& array, const device::BoundaryTensor& t) {
    return array.type == HostType::kFloat16 && t.type == device::ElementType::kFp16 &&
           reinterpret_cast<uintptr_t>(array.data) % kAlignment == 0 &&
           t.row_stride == t.width * static_cast<int64_t>(sizeof(Half)) &&
           t.plane_stride == t.height * t.row_stride &&
           array.elements == t.planes * t.height * t.width;
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
        JAX_ANE_RETURN_IF_ERROR(CheckLayout(tensor));
        port.symbol = static_cast<size_t>(it - symbols.begin());
        port.tensor = tensor;
        return Status();
    }
    return Internal("the loaded program has no tensor " + name);
}

}  // namespace

// One set of surfaces: a call takes a set, so calls may overlap.
struct BoundProgram::Surfaces {
    // Memory of a tensor is allocated when a call has nothing better, and given back when one has.
    struct Input {
        AlignedMemory memory;
        ImageCache images;
        std::shared_ptr<Image> image;  // in use by this call
    };

    // `total` counts the bytes of all sets.
    explicit Surfaces(std::atomic<int64_t>* total) : total_(total) {}
    ~Surfaces() { total_->fetch_sub(bytes_.load()); }
    void Count(int64_t bytes) {
        bytes_.fetch_add(bytes, std::memory_order_relaxed);
        total_->fetch_add(bytes, std::memory_order_relaxed);
    }

    // Large memory is every program's in turn: it does not wait here for the next call.
    void GiveBack(AlignedMemory& memory, size_t bytes) {
        if (memory == nullptr) return;
        Count(-static_cast<int64_t>(bytes));
        memory.reset();
    }
    void GiveBackIfLarge(AlignedMemory& memory, size_t bytes) {
        if (bytes >= MemoryPool::kLeast) GiveBack(memory, bytes);
    }

    std::vector<Input> own;                // by argument
    std::vector<AlignedMemory> memory;     // by result
    std::vector<device::Surface> inputs;   // by symbol index
    std::vector<device::Surface> outputs;  // by symbol index

  private:
    std::atomic<int64_t>* total_;
    std::atomic<int64_t> bytes_{0};  // inputs are bound on several threads
};

BoundProgram::BoundProgram() = default;
BoundProgram::~BoundProgram() = default;

StatusOr<std::shared_ptr<BoundProgram>> BoundProgram::Create(
    std::shared_ptr<device::Device> device, std::shared_ptr<device::CompiledProgram> compiled,
    std::vector<std::string> input_names, std::vector<std::string> output_names, Scaling scaling,
    std::string name) {
    if (scaling.any() &&
        (scaling.inputs.size() != input_names.size() ||
         scaling.outputs.size() != output_names.size() ||
         (!scaling.lifted.empty() && scaling.lifted.size() != output_names.size()))) {
        return Internal("program " + name + ": the scaling is of another number of arrays");
    }
    if (compiled == nullptr) {
        return Internal("program " + name +
                        ": the device reported success but gave no compiled program");
    }
    std::shared_ptr<BoundProgram> program(new BoundProgram());
    program->device_ = std::move(device);
    program->compiled_ = std::move(compiled);
    program->engine_ = software::CurrentEngine();
    program->name_ = std::move(name);
    program->scaling_ = std::move(scaling);
    program->counters_ = ProgramTable::Get().CountersOf(program->name_);
    JAX_ANE_RETURN_IF_ERROR(program->BindPorts(input_names, output_names));
    return program;
}

StatusOr<std::shared_ptr<BoundProgram>> BoundProgram::WithWeights(device::Blobs weights,
                                                                  std::string name) const {
    std::shared_ptr<BoundProgram> program(new BoundProgram());
    program->device_ = device_;
    program->compiled_ = compiled_;
    program->engine_ = engine_;
    program->name_ = std::move(name);
    program->counters_ = ProgramTable::Get().CountersOf(program->name_);
    program->weights_ = std::move(weights);
    program->scaling_ = scaling_;
    const auto names = [](const std::vector<Port>& ports) {
        std::vector<std::string> list;
        for (const Port& port : ports) list.push_back(port.tensor.name);
        return list;
    };
    JAX_ANE_RETURN_IF_ERROR(program->BindPorts(names(inputs_), names(outputs_)));
    counters_->donations.fetch_add(1, std::memory_order_relaxed);
    return program;
}

void BoundProgram::Bake(std::vector<WeightSlot> slots) {
    baked_ = std::make_unique<BakedWeights>(std::move(slots));
    Unload();  // nobody runs it with the zeros that it was compiled with
}

Status BoundProgram::BindPorts(const std::vector<std::string>& input_names,
                               const std::vector<std::string>& output_names) {
    JAX_ANE_RETURN_IF_ERROR(Enter());
    const AtExit leave([&] { gate_.Leave(); });
    const device::LoadedProgram& loaded = *loaded_;
    const device::ProgramAttributes& attributes = loaded.attributes();
    if (attributes.inputs.size() != input_names.size() ||
        attributes.outputs.size() != output_names.size()) {
        return Internal("program " + name_ + ": the loaded program reports " +
                        std::to_string(attributes.inputs.size()) + " inputs and " +
                        std::to_string(attributes.outputs.size()) + " outputs, not " +
                        std::to_string(input_names.size()) + " and " +
                        std::to_string(output_names.size()));
    }
    for (const std::string& input : input_names) {
        JAX_ANE_RETURN_IF_ERROR(
            BindPort(attributes.inputs, attributes.input_symbols, input, inputs_.emplace_back()));
    }
    for (const std::string& output : output_names) {
        JAX_ANE_RETURN_IF_ERROR(BindPort(attributes.outputs, attributes.output_symbols, output,
                                         outputs_.emplace_back()));
    }
    for (const Port& port : inputs_) {
        input_bytes_ += static_cast<int64_t>(port.tensor.size_bytes());
    }
    for (const Port& port : outputs_) {
        output_bytes_ += static_cast<int64_t>(port.tensor.size_bytes());
    }
    arena_bytes_ = loaded.arena_bytes();
    lower_bound_bytes_ = loaded.lower_bound_bytes();
    weight_bytes_ = loaded.weight_bytes();
    return Status();
}

Status BoundProgram::Enter() {
    last_used_.store(NowNanoseconds(), std::memory_order_relaxed);
    if (gate_.Enter()) return Status();
    std::lock_guard<std::mutex> lock(mutex_);
    while (!gate_.Enter()) {
        auto loaded = Load();
        if (loaded.ok()) {
            loaded_ = *std::move(loaded);
            counters_->loads.fetch_add(1, std::memory_order_relaxed);
            gate_.Open();
            continue;
        }
        // A chip holds a limited number of programs: make room and try again.
        if (loaded.status().code() != StatusCode::kResourceExhausted ||
            !ProgramTable::Get().UnloadOldest(this)) {
            return Status(loaded.status().code(),
                          "program " + name_ + " cannot be loaded: " + loaded.status().message());
        }
    }
    return Status();
}

StatusOr<std::shared_ptr<device::LoadedProgram>> BoundProgram::Load() {
    const auto once = [&]() -> StatusOr<std::shared_ptr<device::LoadedProgram>> {
        auto loaded = weights_.has_value() ? device_->LoadWithWeights(compiled_, *weights_)
                                           : device_->Load(compiled_);
        if (!loaded.ok()) return KnownStatus(loaded.status(), "load");
        if (*loaded == nullptr) return Internal("the device reported success but gave no program");
        JAX_ANE_RETURN_IF_ERROR(CheckStillBound((*loaded)->attributes()));
        return loaded;
    };
    auto loaded = once();
    if (loaded.ok() || loaded.status().code() == StatusCode::kResourceExhausted) return loaded;
    // The framework's loads fail now and then; one more try is what its other users give them.
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    return once();
}

// A program that was unloaded and loaded again must be where its caller's arrays are sent.
Status BoundProgram::CheckStillBound(const device::ProgramAttributes& attributes) const {
    const auto same = [](const std::vector<Port>& ports, const auto& tensors, const auto& symbols) {
        return std::all_of(ports.begin(), ports.end(), [&](const Port& port) {
            return port.symbol < symbols.size() && symbols[port.symbol] == port.tensor.symbol &&
                   std::find(tensors.begin(), tensors.end(), port.tensor) != tensors.end();
        });
    };
    if (same(inputs_, attributes.inputs, attributes.input_symbols) &&
        same(outputs_, attributes.outputs, attributes.output_symbols)) {
        return Status();
    }
    return Internal("loaded again, the program reports other attributes than before");
}

bool BoundProgram::Unload() {
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock() || !gate_.TryClose()) return false;
    loaded_.reset();
    free_surfaces_.Clear();
    return true;
}

StatusOr<AlignedMemory> BoundProgram::AllocateSurface(const Port& port, Surfaces& surfaces) const {
    AlignedMemory memory = AllocateAligned(port.tensor.size_bytes());
    if (memory == nullptr) {
        return ResourceExhausted("program " + name_ + ": no memory for a surface of " +
                                 std::to_string(port.tensor.size_bytes()) + " bytes");
    }
    surfaces.Count(static_cast<int64_t>(port.tensor.size_bytes()));
    return memory;
}

Status BoundProgram::BindInput(const HostArray& array, const Port& port, Surfaces& surfaces,
                               size_t index) const {
    Surfaces::Input& own = surfaces.own[index];
    device::Surface& surface = surfaces.inputs[port.symbol];
    if (scaling_.any() && scaling_.inputs[index]) return Status();  // BindScaled's
    own.image = own.images.Find(engine_, array, port.tensor);
    if (own.image != nullptr || IsSurface(array, port.tensor)) {
        surfaces.GiveBack(own.memory, port.tensor.size_bytes());
        surface = own.image != nullptr ? own.image->surface()
                                       : device::Surface{array.data, port.tensor.size_bytes()};
        return Status();
    }
    if (own.memory == nullptr) {
        JAX_ANE_ASSIGN_OR_RETURN(own.memory, AllocateSurface(port, surfaces));
    }
    surface = {own.memory.get(), port.tensor.size_bytes()};
    return WriteSurface(engine_, array, port.tensor, surface.data);
}

bool BoundProgram::IsScaledBack(const HostArray& array, size_t index) const {
    return scaling_.any() && scaling_.outputs[index] && !array.keeps_scale;
}

bool BoundProgram::IsDirect(const HostArray& array, size_t index) const {
    return IsSurface(array, outputs_[index].tensor) && !IsScaledBack(array, index);
}

Status BoundProgram::BindOutput(const HostArray& array, const Port& port, Surfaces& surfaces,
                                size_t index) const {
    AlignedMemory& memory = surfaces.memory[index];
    device::Surface& surface = surfaces.outputs[port.symbol];
    if (IsDirect(array, index)) {
        surfaces.GiveBack(memory, port.tensor.size_bytes());
        surface = {array.data, port.tensor.size_bytes()};
        return Status();
    }
    if (memory == nullptr) {
        JAX_ANE_ASSIGN_OR_RETURN(memory, AllocateSurface(port, surfaces));
    }
    surface = {memory.get(), port.tensor.size_bytes()};
    return Status();
}

Status BoundProgram::BindScaled(std::span<const HostArray> inputs, Surfaces& surfaces,
                                int exponent) const {
    const float scale = std::ldexp(1.0f, exponent);
    for (size_t i = 0; scaling_.any() && i < inputs_.size(); ++i) {
        if (!scaling_.inputs[i]) continue;
        const Port& port = inputs_[i];
        Surfaces::Input& own = surfaces.own[i];
        if (own.memory == nullptr) {
            JAX_ANE_ASSIGN_OR_RETURN(own.memory, AllocateSurface(port, surfaces));
        }
        surfaces.inputs[port.symbol] = {own.memory.get(), port.tensor.size_bytes()};
        JAX_ANE_RETURN_IF_ERROR(
            WriteSurface(engine_, inputs[i], port.tensor, own.memory.get(), scale));
    }
    return Status();
}

int BoundProgram::ExponentFor(std::span<const HostArray> inputs) const {
    float largest = 0;
    for (size_t i = 0; scaling_.any() && i < inputs.size(); ++i) {
        if (!scaling_.inputs[i]) continue;
        const float magnitude = LargestMagnitude(engine_, inputs[i]);
        if (!(magnitude < scaling_.below)) return 0;
        largest = std::max(largest, magnitude);
    }
    return ScaleExponent(largest, scaling_.below);
}

bool BoundProgram::HasOverflow(const Surfaces& surfaces) const {
    for (size_t i = 0; i < outputs_.size(); ++i) {
        const Port& port = outputs_[i];
        if (!scaling_.outputs[i]) continue;
        if (HasInfinity(engine_, surfaces.outputs[port.symbol].data, port.tensor)) return true;
    }
    return false;
}

Status BoundProgram::Evaluate(Surfaces& surfaces) const {
    const TraceSpan span(TraceRow::kProgram, name_);
    Status status = KnownStatus(loaded_->Evaluate(surfaces.inputs, surfaces.outputs), "evaluate");
    if (status.ok()) return status;
    return Status(status.code(), "program " + name_ + ": " + status.message());
}

StatusOr<std::unique_ptr<BoundProgram::Surfaces>> BoundProgram::TakeSurfaces() {
    if (auto surfaces = free_surfaces_.Take()) return surfaces;
    auto surfaces = std::make_unique<Surfaces>(&surface_bytes_);
    surfaces->own.resize(inputs_.size());
    surfaces->inputs.resize(inputs_.size());
    surfaces->outputs.resize(outputs_.size());
    surfaces->memory.resize(outputs_.size());
    return surfaces;
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

StatusOr<float> BoundProgram::Run(std::span<const HostArray> inputs,
                                  std::span<const HostArray> outputs) {
    if (baked_ != nullptr) {
        if (!baked_->Fits(inputs.size(), inputs_.size())) {
            return Internal("program " + name_ + ": called with another number of arrays");
        }
        JAX_ANE_ASSIGN_OR_RETURN(std::shared_ptr<BoundProgram> loaded, baked_->Find(*this, inputs));
        return loaded->Run(baked_->Rest(inputs), outputs);
    }
    if (inputs.size() != inputs_.size() || outputs.size() != outputs_.size()) {
        return Internal("program " + name_ + ": called with another number of arrays");
    }
    int64_t start = NowNanoseconds();
    JAX_ANE_RETURN_IF_ERROR(Enter());
    const AtExit leave([&] { gate_.Leave(); });
    JAX_ANE_ASSIGN_OR_RETURN(std::unique_ptr<Surfaces> surfaces, TakeSurfaces());
    int exponent = 0;
    {
        const TraceSpan span(TraceRow::kConvert, name_);
        JAX_ANE_RETURN_IF_ERROR(ForEachPort(inputs_, [&](size_t i, const Port& port) {
            return BindInput(inputs[i], port, *surfaces, i);
        }));
        for (size_t i = 0; i < outputs_.size(); ++i) {
            JAX_ANE_RETURN_IF_ERROR(BindOutput(outputs[i], outputs_[i], *surfaces, i));
        }
        exponent = ExponentFor(inputs);
        JAX_ANE_RETURN_IF_ERROR(BindScaled(inputs, *surfaces, exponent));
    }
    JAX_ANE_RETURN_IF_ERROR(Evaluate(*surfaces));
    while (exponent > scaling_.lowest() && HasOverflow(*surfaces)) {
        exponent = std::max(scaling_.lowest(), exponent - kBackOff);
        JAX_ANE_RETURN_IF_ERROR(BindScaled(inputs, *surfaces, exponent));
        JAX_ANE_RETURN_IF_ERROR(Evaluate(*surfaces));
    }
    const TraceSpan span(TraceRow::kConvert, name_);
    JAX_ANE_RETURN_IF_ERROR(ForEachPort(outputs_, [&](size_t i, const Port& port) {
        if (IsDirect(outputs[i], i)) return Status();
        const void* surface = surfaces->outputs[port.symbol].data;
        const float inverse =
            IsScaledBack(outputs[i], i) ? std::ldexp(1.0f, -exponent - scaling_.lift(i)) : 1.0f;
        return ReadSurface(engine_, surface, port.tensor, outputs[i], inverse);
    }));
    for (size_t i = 0; i < inputs_.size(); ++i) {
        surfaces->own[i].image.reset();
        surfaces->GiveBackIfLarge(surfaces->own[i].memory, inputs_[i].tensor.size_bytes());
    }
    for (size_t i = 0; i < outputs_.size(); ++i) {
        surfaces->GiveBackIfLarge(surfaces->memory[i], outputs_[i].tensor.size_bytes());
    }
    free_surfaces_.Return(std::move(surfaces));
    counters_->evaluations.fetch_add(1, std::memory_order_relaxed);
    counters_->bytes_in.fetch_add(input_bytes_, std::memory_order_relaxed);
    counters_->bytes_out.fetch_add(output_bytes_, std::memory_order_relaxed);
    counters_->nanoseconds.fetch_add(NowNanoseconds() - start, std::memory_order_relaxed);
    return std::ldexp(1.0f, -exponent);
}

namespace {

ProgramTotals Read(const ProgramCounters& counters) {
    ProgramTotals totals;
    totals.evaluations = counters.evaluations.load(std::memory_order_relaxed);
    totals.bytes_in = counters.bytes_in.load(std::memory_order_relaxed);
    totals.bytes_out = counters.bytes_out.load(std::memory_order_relaxed);
    totals.nanoseconds = counters.nanoseconds.load(std::memory_order_relaxed);
    totals.loads = counters.loads.load(std::memory_order_relaxed);
    totals.donations = counters.donations.load(std::memory_order_relaxed);
    return totals;
}

}  // namespace

ProgramTable& ProgramTable::Get() {
    // Never destroyed: calls may arrive while the process exits.
    static ProgramTable* table = new ProgramTable();
    return *table;
}

ProgramTable::Row* ProgramTable::RowOf(int64_t id) const {
    if (id < 0 || id >= kChunk * kChunks) return nullptr;
    Row* chunk = chunks_[static_cast<size_t>(id / kChunk)].load(std::memory_order_acquire);
    return chunk == nullptr ? nullptr : chunk + id % kChunk;
}

StatusOr<int64_t> ProgramTable::Add(std::shared_ptr<BoundProgram> program, int64_t key) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (count_ == kChunk * kChunks) {
        return ResourceExhausted("this process has loaded " + std::to_string(count_) +
                                 " programs, and no more can be numbered: restart it");
    }
    const int64_t id = count_++;
    std::atomic<Row*>& chunk = chunks_[static_cast<size_t>(id / kChunk)];
    if (id % kChunk == 0) chunk.store(new Row[kChunk], std::memory_order_release);
    Row* row = RowOf(id);
    row->program = std::move(program);
    row->key = key;
    if (key != 0) ids_by_key_[key] = id;
    row->gate.Open();
    return id;
}

void ProgramTable::Remove(int64_t id) {
    std::shared_ptr<BoundProgram> dying;  // destroyed outside of the lock
    std::lock_guard<std::mutex> lock(mutex_);
    Row* row = RowOf(id);
    if (row == nullptr || row->program == nullptr) return;
    // Whoever is inside only copies the pointer.
    while (!row->gate.TryClose()) std::this_thread::yield();
    dying.swap(row->program);
    const auto found = ids_by_key_.find(row->key);
    if (found != ids_by_key_.end() && found->second == id) ids_by_key_.erase(found);
}

std::shared_ptr<BoundProgram> ProgramTable::Find(int64_t id) {
    Row* row = RowOf(id);
    if (row == nullptr || !row->gate.Enter()) return nullptr;
    std::shared_ptr<BoundProgram> program = row->program;
    row->gate.Leave();
    return program;
}

std::shared_ptr<BoundProgram> ProgramTable::FindKey(int64_t key) {
    constexpr size_t kMostSeen = 4096;  // of them some have left
    thread_local std::unordered_map<int64_t, int64_t> seen;
    const auto known = seen.find(key);
    if (known != seen.end()) {
        if (std::shared_ptr<BoundProgram> program = Find(known->second)) return program;
        seen.erase(known);  // it has left; another may have come
    }
    int64_t id = -1;
    {
        std::lock_guard<std::mutex> lock(mutex_);
        const auto found = ids_by_key_.find(key);
        if (found == ids_by_key_.end()) return nullptr;
        id = found->second;
    }
    std::shared_ptr<BoundProgram> program = Find(id);
    if (seen.size() >= kMostSeen) seen.clear();
    if (program != nullptr) seen[key] = id;
    return program;
}

std::shared_ptr<ProgramCounters> ProgramTable::CountersOf(const std::string& name) {
    std::lock_guard<std::mutex> lock(mutex_);
    std::shared_ptr<ProgramCounters>& counters = counters_[name];
    if (counters == nullptr) counters = std::make_shared<ProgramCounters>();
    return counters;
}

std::map<std::string, ProgramTotals> ProgramTable::Totals() {
    std::lock_guard<std::mutex> lock(mutex_);
    std::map<std::string, ProgramTotals> totals;
    for (const auto& [name, counters] : counters_) totals.emplace(name, Read(*counters));
    return totals;
}

std::vector<std::shared_ptr<BoundProgram>> ProgramTable::All() {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<std::shared_ptr<BoundProgram>> all;
    for (int64_t id = 0; id < count_; ++id) {
        const auto& program = RowOf(id)->program;
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
