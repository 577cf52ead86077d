// SPDX-License-Identifier: Apache-2.0
// The profiler extension: JAX starts and stops a trace and takes it as a serialised XSpace (the
// protocol-buffer message of XLA's profiler), with one plane for the engine.
#include "pjrt/profiler.h"

#include <array>
#include <cstring>
#include <map>
#include <string>
#include <string_view>

#include "util/trace.h"

namespace jax_ane::pjrt {
namespace {

// Planes of this prefix are shown beside the host's.
constexpr std::string_view kPlane = "/device:CUSTOM:Apple Neural Engine";
constexpr std::array<std::string_view, 4> kRows = {"Compile", "Host part (XLA:CPU)", "Convert",
                                                   "ANE programs"};

// Field numbers of xplane.proto.
enum XSpace { kSpacePlanes = 1, kSpaceWarnings = 3 };
enum XPlane { kPlaneId = 1, kPlaneName = 2, kPlaneLines = 3, kPlaneEventNames = 4 };
enum XLine { kLineId = 1, kLineName = 2, kLineTimestampNs = 3, kLineEvents = 4 };
enum XEvent { kEventName = 1, kEventOffsetPs = 2, kEventDurationPs = 3 };
enum XEventMetadata { kMetadataId = 1, kMetadataName = 2 };
enum MapEntry { kKey = 1, kValue = 2 };

class Message {
  public:
    Message& Number(int field, uint64_t value) {
        Varint(static_cast<uint64_t>(field) << 3);
        Varint(value);
        return *this;
    }
    Message& Bytes(int field, std::string_view content) {
        Varint(static_cast<uint64_t>(field) << 3 | 2);
        Varint(content.size());
        bytes_ += content;
        return *this;
    }
    const std::string& bytes() const { return bytes_; }

  private:
    void Varint(uint64_t value) {
        for (; value > 0x7F; value >>= 7) bytes_ += static_cast<char>((value & 0x7F) | 0x80);
        bytes_ += static_cast<char>(value);
    }
    std::string bytes_;
};

std::string Serialise(const Trace::Recording& recording) {
    std::map<std::string, uint64_t> names;  // Of events, to their numbers.
    // Rows in the order in which something runs, one for each thread.
    std::map<std::pair<TraceRow, int>, std::string> lines;
    for (const TraceEvent& event : recording.events) {
        const uint64_t name = names.emplace(event.name, names.size() + 1).first->second;
        Message message;
        message.Number(kEventName, name)
            .Number(kEventOffsetPs, (event.start_ns - recording.start_ns) * 1000)
            .Number(kEventDurationPs, (event.end_ns - event.start_ns) * 1000);
        lines[{event.row, event.thread}] += Message().Bytes(kLineEvents, message.bytes()).bytes();
    }
    Message plane;
    plane.Number(kPlaneId, 1).Bytes(kPlaneName, kPlane);
    uint64_t id = 0;
    for (const auto& [key, events] : lines) {
        std::string name(kRows[static_cast<size_t>(key.first)]);
        if (key.second > 0) name += " (thread " + std::to_string(key.second) + ")";
        Message line;
        line.Number(kLineId, ++id).Bytes(kLineName, name);
        line.Number(kLineTimestampNs, recording.start_ns);
        plane.Bytes(kPlaneLines, line.bytes() + events);
    }
    for (const auto& [name, number] : names) {
        Message metadata, entry;
        metadata.Number(kMetadataId, number).Bytes(kMetadataName, name);
        entry.Number(kKey, number).Bytes(kValue, metadata.bytes());
        plane.Bytes(kPlaneEventNames, entry.bytes());
    }
    Message space;
    if (!recording.events.empty()) space.Bytes(kSpacePlanes, plane.bytes());
    if (recording.dropped > 0) {
        space.Bytes(kSpaceWarnings, std::to_string(recording.dropped) +
                                        " events of the Apple Neural Engine were left out: "
                                        "trace fewer steps");
    }
    return space.bytes();
}

// PLUGIN_Profiler: what a trace was taken into, until it is destroyed.
struct Profiler {
    std::string space;
    bool is_taken = false;
};

Profiler* Unwrap(PLUGIN_Profiler* profiler) { return reinterpret_cast<Profiler*>(profiler); }

PLUGIN_Profiler_Error* Create(PLUGIN_Profiler_Create_Args* args) {
    args->profiler = reinterpret_cast<PLUGIN_Profiler*>(new Profiler());
    return nullptr;
}

PLUGIN_Profiler_Error* Destroy(PLUGIN_Profiler_Destroy_Args* args) {
    delete Unwrap(args->profiler);
    return nullptr;
}

PLUGIN_Profiler_Error* Start(PLUGIN_Profiler_Start_Args* args) {
    *Unwrap(args->profiler) = {};
    Trace::Get().Start();
    return nullptr;
}

PLUGIN_Profiler_Error* Stop(PLUGIN_Profiler_Stop_Args*) {
    Trace::Get().Stop();
    return nullptr;
}

PLUGIN_Profiler_Error* CollectData(PLUGIN_Profiler_CollectData_Args* args) {
    Profiler* profiler = Unwrap(args->profiler);
    if (!profiler->is_taken) {
        profiler->space = Serialise(Trace::Get().Take());
        profiler->is_taken = true;
    }
    // jaxlib reads the bytes where it is told to find them; other callers bring room for them.
    if (args->buffer != nullptr) {
        std::memcpy(args->buffer, profiler->space.data(), profiler->space.size());
    } else {
        args->buffer = reinterpret_cast<uint8_t*>(profiler->space.data());
    }
    args->buffer_size_in_bytes = profiler->space.size();
    return nullptr;
}

// No call makes an error, so none is asked for.
void ErrorDestroy(PLUGIN_Profiler_Error_Destroy_Args*) {}
void ErrorMessage(PLUGIN_Profiler_Error_Message_Args* args) {
    args->message = "";
    args->message_size = 0;
}
PLUGIN_Profiler_Error* ErrorGetCode(PLUGIN_Profiler_Error_GetCode_Args* args) {
    args->code = 0;
    return nullptr;
}

}  // namespace

PJRT_Extension_Base* ProfilerExtension(PJRT_Extension_Base* next) {
    static PLUGIN_Profiler_Api api = {
        .struct_size = sizeof(PLUGIN_Profiler_Api),
        .priv = nullptr,
        .error_destroy = ErrorDestroy,
        .error_message = ErrorMessage,
        .error_get_code = ErrorGetCode,
        .create = Create,
        .destroy = Destroy,
        .start = Start,
        .stop = Stop,
        .collect_data = CollectData,
    };
    static PJRT_Profiler_Extension extension = {
        .base = {.struct_size = sizeof(PJRT_Profiler_Extension),
                 .type = PJRT_Extension_Type_Profiler,
                 .next = next},
        .profiler_api = &api,
        .traceme_context_id = 0,
    };
    return &extension.base;
}

}  // namespace jax_ane::pjrt
