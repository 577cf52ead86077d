// SPDX-License-Identifier: Apache-2.0
#include "runtime/weights.h"

#include <algorithm>
#include <cstring>

#include "runtime/convert.h"
#include "runtime/images.h"
#include "util/half.h"

namespace jax_ane::runtime {

namespace {

constexpr size_t kHeaderBytes = 128;  // of the file and of its one tensor
constexpr uint32_t kSentinel = 0xDEADBEEF;
// Sets of weights that one program keeps: several models may share it, each with many layers.
constexpr size_t kMostVariants = 128;

int64_t Product(const std::vector<int64_t>& shape) {
    int64_t product = 1;
    for (const int64_t extent : shape) product *= extent;
    return product;
}

// Writes the axes of `from` in the order that a move says.
void Transpose(const WeightSlot::Move& move, const Half* from, Half* to) {
    const auto& [shape, perm] = move;
    const size_t rank = shape.size();
    std::vector<int64_t> strides(rank, 1);
    for (size_t axis = rank; axis-- > 1;) strides[axis - 1] = strides[axis] * shape[axis];
    std::vector<int64_t> extents(rank), steps(rank), at(rank, 0);
    for (size_t axis = 0; axis < rank; ++axis) {
        extents[axis] = shape[static_cast<size_t>(perm[axis])];
        steps[axis] = strides[static_cast<size_t>(perm[axis])];
    }
    const int64_t row = extents[rank - 1], step = steps[rank - 1];
    const int64_t rows = Product(shape) / std::max<int64_t>(row, 1);
    for (int64_t r = 0; r < rows; ++r) {
        const Half* source = from;
        for (size_t axis = 0; axis + 1 < rank; ++axis) source += at[axis] * steps[axis];
        for (int64_t i = 0; i < row; ++i) *to++ = source[i * step];
        for (size_t axis = rank - 1; axis-- > 0;) {
            if (++at[axis] < extents[axis]) break;
            at[axis] = 0;
        }
    }
}

bool IsMove(const WeightSlot::Move& move, int64_t elements) {
    const auto& [shape, perm] = move;
    std::vector<int64_t> sorted = perm;
    std::sort(sorted.begin(), sorted.end());
    for (size_t axis = 0; axis < sorted.size(); ++axis) {
        if (sorted[axis] != static_cast<int64_t>(axis)) return false;
    }
    return !shape.empty() && shape.size() == perm.size() && Product(shape) == elements;
}

// The file that the compiler writes (jax_ane/compiler/blob.py), of one fp16 tensor.
std::shared_ptr<std::vector<uint8_t>> EmptyBlob(int64_t elements) {
    const auto payload = static_cast<uint64_t>(elements) * sizeof(Half);
    auto blob = std::make_shared<std::vector<uint8_t>>((kHeaderBytes + payload + 63) / 64 * 64);
    const auto put = [&](size_t at, auto value) {
        std::memcpy(blob->data() + at, &value, sizeof(value));
    };
    put(0, uint32_t{1});  // tensors
    put(4, uint32_t{2});  // version
    put(64, kSentinel);
    put(68, uint32_t{1});  // fp16
    put(72, payload);
    put(80, uint64_t{kHeaderBytes});
    return blob;
}

Status ReadWeight(const software::Engine& engine, const HostArray& array, const WeightSlot& slot,
                  Half* out) {
    device::BoundaryTensor dense;
    dense.type = device::ElementType::kFp16;
    dense.planes = dense.height = 1;
    dense.width = array.elements;
    dense.row_stride = dense.plane_stride = array.elements * static_cast<int64_t>(sizeof(Half));
    JAX_ANE_RETURN_IF_ERROR(WriteSurface(engine, array, dense, out));
    for (const WeightSlot::Move& move : slot.moves) {
        if (!IsMove(move, array.elements)) {
            return InvalidArgument("weight " + slot.path + " cannot be moved as its program says");
        }
        const std::vector<Half> before(out, out + array.elements);
        Transpose(move, before.data(), out);
    }
    return Status();
}

bool AreEqual(const device::Blobs& a, const device::Blobs& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
        return x.first == y.first && *x.second == *y.second;
    });
}

}  // namespace

// One set of weights, loaded. In the table of programs, so that it may be unloaded for others.
struct BakedWeights::Variant {
    ~Variant() { ProgramTable::Get().Remove(id); }

    bool IsOf(const std::vector<std::shared_ptr<const void>>& found) const {
        return !promises.empty() &&
               std::equal(promises.begin(), promises.end(), found.begin(), found.end(),
                          [](const auto& mine, const auto& other) { return mine.lock() == other; });
    }
    bool IsGone() const {
        return std::any_of(promises.begin(), promises.end(),
                           [](const auto& promise) { return promise.expired(); });
    }

    std::vector<const void*> addresses;               // of the arguments, by slot
    std::vector<std::weak_ptr<const void>> promises;  // empty until all arguments are vouched for
    device::Blobs blobs;
    int64_t id = -1;
    std::shared_ptr<BoundProgram> program;
};

BakedWeights::BakedWeights(std::vector<WeightSlot> slots) : slots_(std::move(slots)) {
    for (const WeightSlot& slot : slots_) {
        if (is_baked_.size() <= slot.argument) is_baked_.resize(slot.argument + 1, false);
        if (!is_baked_[slot.argument]) ++baked_count_;
        is_baked_[slot.argument] = true;
    }
}

BakedWeights::~BakedWeights() = default;

std::vector<HostArray> BakedWeights::Rest(std::span<const HostArray> arguments) const {
    std::vector<HostArray> rest;
    for (size_t i = 0; i < arguments.size(); ++i) {
        if (i >= is_baked_.size() || !is_baked_[i]) rest.push_back(arguments[i]);
    }
    return rest;
}

StatusOr<device::Blobs> BakedWeights::Read(const software::Engine& engine,
                                           std::span<const HostArray> arguments) const {
    device::Blobs blobs;
    for (const WeightSlot& slot : slots_) {
        const HostArray& array = arguments[slot.argument];
        auto blob = EmptyBlob(array.elements);
        auto* payload = reinterpret_cast<Half*>(blob->data() + kHeaderBytes);
        JAX_ANE_RETURN_IF_ERROR(ReadWeight(engine, array, slot, payload));
        blobs.emplace(slot.path, std::move(blob));
    }
    return blobs;
}

StatusOr<std::shared_ptr<BoundProgram>> BakedWeights::Find(const BoundProgram& program,
                                                           std::span<const HostArray> arguments) {
    std::vector<const void*> addresses;
    std::vector<std::shared_ptr<const void>> promises;
    for (const WeightSlot& slot : slots_) {
        addresses.push_back(arguments[slot.argument].data);
        promises.push_back(ImageRegistry::Get().Promise(addresses.back()));
    }
    const bool is_vouched = std::all_of(promises.begin(), promises.end(),
                                        [](const auto& promise) { return promise != nullptr; });
    // Others that need the same weights wait here while they are loaded.
    std::lock_guard<std::mutex> lock(mutex_);
    const auto find = [&](auto&& condition) {
        const auto found = std::find_if(variants_.begin(), variants_.end(), condition);
        if (found != variants_.end()) std::rotate(found, found + 1, variants_.end());
        return found != variants_.end();
    };
    if (is_vouched && find([&](const auto& variant) { return variant->IsOf(promises); })) {
        return variants_.back()->program;
    }
    std::erase_if(variants_, [](const auto& variant) { return variant->IsGone(); });
    // Where nobody vouches for the bytes, as for what is donated, they are looked at.
    JAX_ANE_ASSIGN_OR_RETURN(device::Blobs blobs, Read(program.engine(), arguments));
    const bool is_there = find([&](const auto& variant) {
        return variant->addresses == addresses && AreEqual(variant->blobs, blobs);
    });
    if (!is_there) {
        std::erase_if(variants_, [&](const auto& variant) {
            return variant->promises.empty() && variant->addresses == addresses;
        });
        auto variant = std::make_unique<Variant>();
        variant->addresses = std::move(addresses);
        variant->blobs = blobs;
        JAX_ANE_ASSIGN_OR_RETURN(variant->program,
                                 program.WithWeights(std::move(blobs), program.name()));
        JAX_ANE_ASSIGN_OR_RETURN(variant->id, ProgramTable::Get().Add(variant->program));
        if (variants_.size() >= kMostVariants) variants_.erase(variants_.begin());
        variants_.push_back(std::move(variant));
    }
    Variant& variant = *variants_.back();
    if (is_vouched) variant.promises.assign(promises.begin(), promises.end());
    return variant.program;
}

}  // namespace jax_ane::runtime
