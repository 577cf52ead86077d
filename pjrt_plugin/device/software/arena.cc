// SPDX-License-Identifier: Apache-2.0
#include "device/software/arena.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>

namespace jax_ane::software {
namespace {

constexpr size_t kAlignment = 64;
// Beyond this many pairs of blocks that are alive together, one order of placement is all that a
// load has time for.
constexpr size_t kManyPairs = 2'000'000;
// Work for the search that follows the fixed orders, in visited pairs.
constexpr size_t kSearchPairs = 2'000'000;
constexpr size_t kSearchRounds = 400;

using Order = std::vector<int>;

class Placer {
  public:
    explicit Placer(std::span<const Lifetime> blocks);
    ArenaLayout Place();

  private:
    size_t Size(int b) const { return sizes_[static_cast<size_t>(b)]; }
    size_t Duration(int b) const {
        const Lifetime& life = blocks_[static_cast<size_t>(b)];
        return static_cast<size_t>(int64_t{life.last} - life.first) + 1;
    }
    Order ByTime() const;
    void FindLowerBound(const Order& by_time);
    bool FindNeighbours(const Order& by_time);
    void Try(const Order& order);
    size_t BestGap(int b, std::vector<std::pair<size_t, size_t>>& taken) const;
    template <typename Key>
    void TrySorted(Key key);
    void Search();
    void PlaceInOneSweep(const Order& by_time);
    // Two percent above the bound is as good as it: nothing more to gain.
    bool Done() const { return best_.bytes - best_.lower_bound <= best_.lower_bound / 50; }

    std::span<const Lifetime> blocks_;
    std::vector<size_t> sizes_;                 // rounded up
    std::vector<std::vector<int>> neighbours_;  // blocks that are alive together with each
    size_t pairs_ = 0;
    std::vector<size_t> offsets_;  // of the attempt under way
    Order order_;                  // of the best attempt
    ArenaLayout best_;
};

Placer::Placer(std::span<const Lifetime> blocks) : blocks_(blocks) {
    for (const Lifetime& block : blocks) {
        sizes_.push_back((std::max<size_t>(block.bytes, 1) + kAlignment - 1) / kAlignment *
                         kAlignment);
    }
    best_.bytes = std::numeric_limits<size_t>::max();
}

Order Placer::ByTime() const {
    Order order(blocks_.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
        return blocks_[static_cast<size_t>(a)].first < blocks_[static_cast<size_t>(b)].first;
    });
    return order;
}

void Placer::FindLowerBound(const Order& by_time) {
    Order by_end = by_time;
    std::stable_sort(by_end.begin(), by_end.end(), [&](int a, int b) {
        return blocks_[static_cast<size_t>(a)].last < blocks_[static_cast<size_t>(b)].last;
    });
    size_t live = 0;
    auto dying = by_end.begin();
    for (int b : by_time) {
        const int now = blocks_[static_cast<size_t>(b)].first;
        for (; blocks_[static_cast<size_t>(*dying)].last < now; ++dying) live -= Size(*dying);
        live += Size(b);
        best_.lower_bound = std::max(best_.lower_bound, live);
    }
}

// False if there are too many pairs.
bool Placer::FindNeighbours(const Order& by_time) {
    neighbours_.resize(blocks_.size());
    std::vector<int> live;
    for (int b : by_time) {
        const int now = blocks_[static_cast<size_t>(b)].first;
        std::erase_if(live,
                      [&](int other) { return blocks_[static_cast<size_t>(other)].last < now; });
        pairs_ += live.size() * 2;
        if (pairs_ > kManyPairs) return false;
        for (int other : live) {
            neighbours_[static_cast<size_t>(b)].push_back(other);
            neighbours_[static_cast<size_t>(other)].push_back(b);
        }
        live.push_back(b);
    }
    return true;
}

// The smallest gap between placed neighbours that holds the block, or the end above them all.
size_t Placer::BestGap(int b, std::vector<std::pair<size_t, size_t>>& taken) const {
    std::sort(taken.begin(), taken.end());
    size_t end = 0, best = 0, best_gap = std::numeric_limits<size_t>::max();
    for (const auto& [begin, stop] : taken) {
        if (begin > end && begin - end >= Size(b) && begin - end < best_gap) {
            best = end;
            best_gap = begin - end;
        }
        end = std::max(end, stop);
    }
    return best_gap == std::numeric_limits<size_t>::max() ? end : best;
}

// Places the blocks one after the other and keeps the layout if it is the smallest so far.
void Placer::Try(const Order& order) {
    constexpr size_t kUnplaced = std::numeric_limits<size_t>::max();
    offsets_.assign(blocks_.size(), kUnplaced);
    std::vector<std::pair<size_t, size_t>> taken;
    size_t total = 0;
    for (int b : order) {
        taken.clear();
        for (int other : neighbours_[static_cast<size_t>(b)]) {
            const size_t offset = offsets_[static_cast<size_t>(other)];
            if (offset != kUnplaced) taken.emplace_back(offset, offset + Size(other));
        }
        const size_t offset = BestGap(b, taken);
        offsets_[static_cast<size_t>(b)] = offset;
        total = std::max(total, offset + Size(b));
        if (total >= best_.bytes) return;
    }
    best_.bytes = total;
    best_.offsets = offsets_;
    order_ = order;
}

// Larger keys first, earlier blocks first among equals.
template <typename Key>
void Placer::TrySorted(Key key) {
    if (Done()) return;
    Order order = ByTime();
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return key(a) > key(b); });
    Try(order);
}

// Moves a block that reaches the top of the best layout, or one beside it, ahead of a random
// other block, for as long as that may help.
void Placer::Search() {
    uint64_t state = 0x9E3779B97F4A7C15;
    auto random = [&](size_t below) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return static_cast<size_t>(state % below);
    };
    const size_t rounds = std::min(kSearchRounds, kSearchPairs / (pairs_ + blocks_.size() + 1));
    for (size_t round = 0; round < rounds && !Done(); ++round) {
        std::vector<int> top;
        for (size_t b = 0; b < blocks_.size(); ++b) {
            if (best_.offsets[b] + sizes_[b] == best_.bytes) top.push_back(static_cast<int>(b));
        }
        int moved = top[random(top.size())];
        const auto& beside = neighbours_[static_cast<size_t>(moved)];
        if (!beside.empty() && random(2) == 0) moved = beside[random(beside.size())];
        Order order = order_;
        const auto at = std::find(order.begin(), order.end(), moved);
        const size_t place = static_cast<size_t>(at - order.begin());
        std::rotate(order.begin() + static_cast<std::ptrdiff_t>(random(place + 1)), at, at + 1);
        Try(order);
    }
}

// Best fit among the holes that each moment leaves, in the order of time.
void Placer::PlaceInOneSweep(const Order& by_time) {
    std::vector<int> live;
    std::vector<std::pair<size_t, size_t>> taken;
    best_.offsets.assign(blocks_.size(), 0);
    best_.bytes = 0;
    for (int b : by_time) {
        const int now = blocks_[static_cast<size_t>(b)].first;
        std::erase_if(live,
                      [&](int other) { return blocks_[static_cast<size_t>(other)].last < now; });
        taken.clear();
        for (int other : live) {
            const size_t offset = best_.offsets[static_cast<size_t>(other)];
            taken.emplace_back(offset, offset + Size(other));
        }
        best_.offsets[static_cast<size_t>(b)] = BestGap(b, taken);
        best_.bytes = std::max(best_.bytes, best_.offsets[static_cast<size_t>(b)] + Size(b));
        live.push_back(b);
    }
}

ArenaLayout Placer::Place() {
    const Order by_time = ByTime();
    FindLowerBound(by_time);
    if (blocks_.empty()) {
        best_.bytes = 0;
    } else if (!FindNeighbours(by_time)) {
        PlaceInOneSweep(by_time);
    } else {
        Try(by_time);
        TrySorted([&](int b) { return Size(b); });
        TrySorted([&](int b) { return Duration(b); });
        TrySorted([&](int b) { return Size(b) * Duration(b); });
        Search();
    }
    return std::move(best_);
}

}  // namespace

ArenaLayout LayOutArena(std::span<const Lifetime> blocks) { return Placer(blocks).Place(); }

}  // namespace jax_ane::software
