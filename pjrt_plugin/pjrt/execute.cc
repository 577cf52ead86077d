// SPDX-License-Identifier: Apache-2.0
// The launch. With one device it is two calls into jaxlib; with several, jax_ane._host puts the
// shards together. Small programs are done when it returns; for the others CompletionQueue tells.
#include <cstring>
#include <vector>

#include "pjrt/completion.h"
#include "pjrt/event.h"
#include "pjrt/executable.h"
#include "util/trace.h"

namespace jax_ane::pjrt {
namespace {

// The storages are kept until the call is over: the client may destroy an argument meanwhile.
struct Arguments {
    std::vector<std::shared_ptr<Storage>> kept;
    std::vector<BufferInstance*> donated;
};

bool IsListed(const PJRT_ExecuteOptions* options, size_t index) {
    if (!options) return false;
    for (size_t i = 0; i < options->num_non_donatable_input_indices; ++i) {
        if (options->non_donatable_input_indices[i] == static_cast<int64_t>(index)) return true;
    }
    return false;
}

// An array over a private copy: XLA:CPU never donates memory that is not its own.
StatusOr<nb::object> UndonatableArray(BufferInstance& buffer, Storage& storage) {
    JAX_ANE_ASSIGN_OR_RETURN(const std::byte* bytes, HostBytes(buffer, storage));
    JAX_ANE_ASSIGN_OR_RETURN(std::shared_ptr<HostBlock> block,
                             HostBlock::Allocate(buffer.byte_size(), buffer.device()->tracker()));
    if (buffer.byte_size() > 0) std::memcpy(block->data(), bytes, buffer.byte_size());
    Storage copy(std::move(block));
    return nb::borrow(InnerArray(buffer, copy));
}

// A buffer that a second execution reads is likely to be read by many more: weights. From here on
// programs keep what they make of its bytes.
void NoteRead(BufferInstance& buffer, Storage& storage) {
    constexpr int kExecutions = 2;
    constexpr size_t kWorthKeepingBytes = 4096;
    if (storage.CountExecution() < kExecutions || storage.keeps_images()) return;
    if (!storage.array_is_row_major()) return;
    const bool is_float =
        buffer.type() == PJRT_Buffer_Type_F32 || buffer.type() == PJRT_Buffer_Type_F16;
    if (!is_float || buffer.byte_size() < kWorthKeepingBytes) return;
    if (storage.ready() && !storage.ready()->IsReady()) return;
    storage.KeepImages(storage.ArrayData(), buffer.device()->tracker());
}

// The inner arrays of one device's arguments.
StatusOr<nb::object> CollectArguments(Program& program, PJRT_Buffer* const* buffers, size_t replica,
                                      const PJRT_LoadedExecutable_Execute_Args& args,
                                      Arguments* arguments) {
    nb::object list = nb::steal(PyList_New(static_cast<Py_ssize_t>(args.num_args)));
    for (size_t i = 0; i < args.num_args; ++i) {
        BufferInstance& buffer = *BufferInstance::Unwrap(buffers[i]);
        StatusOr<std::shared_ptr<Storage>> acquired = buffer.Acquire();
        if (!acquired.ok()) {
            return InvalidArgument("Invalid buffer passed to Execute() as argument " +
                                   std::to_string(i) + " to replica " + std::to_string(replica) +
                                   ": INVALID_ARGUMENT: " + acquired.status().message());
        }
        std::shared_ptr<Storage> storage = *std::move(acquired);
        nb::object array;
        if (!storage) {
            array = nb::borrow(program.token());
        } else if (i < program.donated.size() && program.donated[i]) {
            if (IsListed(args.options, i)) {
                JAX_ANE_ASSIGN_OR_RETURN(array, UndonatableArray(buffer, *storage));
            } else {
                array = nb::borrow(InnerArray(buffer, *storage));
                storage->DropImages();  // XLA:CPU may write into the bytes
                arguments->donated.push_back(&buffer);
            }
        } else {
            array = nb::borrow(InnerArray(buffer, *storage));
            NoteRead(buffer, *storage);
        }
        PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(i), array.release().ptr());
        if (storage) arguments->kept.push_back(std::move(storage));
    }
    return list;
}

PyObject* Interned(const char* text) { return PyUnicode_InternFromString(text); }

// Calls method `name` of `object` with one argument.
nb::object CallMethod(nb::handle object, PyObject* name, nb::handle argument) {
    PyObject* stack[2] = {object.ptr(), argument.ptr()};
    PyObject* result =
        PyObject_VectorcallMethod(name, stack, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
    if (!result) throw nb::python_error();
    return nb::steal(result);
}

nb::object RunOnOneDevice(Program& program, nb::handle arguments) {
    static PyObject* consume = Interned("consume_with_handlers");
    static PyObject* disassemble = Interned("disassemble_prefix_into_single_device_arrays");
    PyObject* result = PyObject_CallOneArg(program.execute().ptr(), arguments.ptr());
    if (!result) throw nb::python_error();
    nb::object results = nb::steal(result);
    if (program.num_tokens > 0) {
        CallMethod(results, disassemble, nb::int_(program.num_tokens));
    }
    return CallMethod(results, consume, program.handlers());
}

// The event of an execution's results; null when they are there. All results of an execution become
// ready together. Ordered effects wait: the next program must not overtake this one.
StatusOr<std::shared_ptr<EventState>> WatchResults(const std::shared_ptr<Program>& program,
                                                   nb::handle arrays) {
    static PyObject* is_ready = Interned("is_ready");
    const Py_ssize_t count = PyList_Size(arrays.ptr());
    if (count == 0) return std::shared_ptr<EventState>();
    nb::handle last = PyList_GET_ITEM(arrays.ptr(), count - 1);
    nb::object answer = nb::steal(PyObject_CallMethodNoArgs(last.ptr(), is_ready));
    if (!answer) throw nb::python_error();
    if (answer.is(nb::handle(Py_True)) && program->num_tokens == 0) {
        return std::shared_ptr<EventState>();
    }
    auto state = std::make_shared<EventState>();
    CompletionQueue::Get().Watch(last, state, program);
    if (program->num_tokens > 0) {
        nb::gil_scoped_release release;
        Status status = state->Await();
        if (!status.ok()) return status;
    }
    return state;
}

Status EmitOutputs(const std::shared_ptr<Program>& shared, nb::handle arrays,
                   DeviceInstance* device, PJRT_Buffer** outputs,
                   std::shared_ptr<EventState>* done) {
    const Program& program = *shared;
    const size_t expected = program.outputs.size() - program.num_tokens;
    if (static_cast<size_t>(PyList_Size(arrays.ptr())) != expected) {
        return Internal("XLA:CPU returned another number of results than it announced");
    }
    JAX_ANE_ASSIGN_OR_RETURN(std::shared_ptr<EventState> ready, WatchResults(shared, arrays));
    *done = ready;
    for (size_t i = 0; i < program.outputs.size(); ++i) {
        const OutputInfo& info = program.outputs[i];
        std::shared_ptr<Storage> storage;
        if (i >= program.num_tokens) {
            nb::object array = nb::borrow(PyList_GET_ITEM(arrays.ptr(), i - program.num_tokens));
            // In no cycle, and as many as JAX's own: the collector need not walk them.
            PyObject_GC_UnTrack(array.ptr());
            storage = std::make_shared<Storage>(PyRef(std::move(array)), info.shape->byte_size,
                                                device->tracker(), ready);
            storage->set_array_is_row_major(info.is_row_major);
        }
        outputs[i] =
            (new BufferInstance(device->memory(info.memory_kind), info.shape, std::move(storage)))
                ->Wrap();
    }
    return {};
}

Status ExecuteWithGil(const std::shared_ptr<Program>& shared,
                      const PJRT_LoadedExecutable_Execute_Args& args,
                      std::vector<std::shared_ptr<EventState>>& done) {
    Program& program = *shared;
    Arguments arguments;
    if (program.is_on_one_device()) {
        JAX_ANE_ASSIGN_OR_RETURN(nb::object list, CollectArguments(program, args.argument_lists[0],
                                                                   0, args, &arguments));
        nb::object arrays = RunOnOneDevice(program, list);
        JAX_ANE_RETURN_IF_ERROR(EmitOutputs(shared, arrays,
                                            DeviceInstance::Unwrap(program.devices[0]),
                                            args.output_lists[0], &done[0]));
    } else {
        nb::list shards;
        for (size_t device = 0; device < args.num_devices; ++device) {
            JAX_ANE_ASSIGN_OR_RETURN(
                nb::object list,
                CollectArguments(program, args.argument_lists[device], device, args, &arguments));
            shards.append(list);
        }
        nb::object results = program.host().attr("execute_shards")(shards);
        for (size_t device = 0; device < args.num_devices; ++device) {
            nb::object arrays = results[device];
            JAX_ANE_RETURN_IF_ERROR(EmitOutputs(shared, arrays,
                                                DeviceInstance::Unwrap(program.devices[device]),
                                                args.output_lists[device], &done[device]));
        }
    }
    for (BufferInstance* buffer : arguments.donated) buffer->Delete();
    return {};
}

// Notes the run of a program: until its results are there.
void NoteRun(const std::string& name, int64_t start_ns, EventState* done) {
    auto note = [=](const Status&) { Trace::Get().Add(TraceRow::kHost, name, start_ns); };
    if (done) {
        done->OnReady(note);
    } else {
        note(Status());
    }
}

}  // namespace

Status Execute(const std::shared_ptr<Program>& shared,
               const PJRT_LoadedExecutable_Execute_Args& args) {
    const Program& program = *shared;
    if (args.num_devices != program.devices.size()) {
        return InvalidArgument("a program for " + std::to_string(program.devices.size()) +
                               " devices was run on " + std::to_string(args.num_devices));
    }
    if (args.num_args != program.donated.size()) {
        return InvalidArgument("a program of " + std::to_string(program.donated.size()) +
                               " arguments was given " + std::to_string(args.num_args));
    }
    std::vector<std::shared_ptr<EventState>> done(args.num_devices);
    const int64_t start_ns = Trace::Get().is_on() ? TraceClock() : 0;
    JAX_ANE_RETURN_IF_ERROR(WithPython([&] { return ExecuteWithGil(shared, args, done); }));
    if (start_ns != 0 && !done.empty()) NoteRun(program.name, start_ns, done[0].get());
    if (args.device_complete_events) {
        for (size_t device = 0; device < args.num_devices; ++device) {
            args.device_complete_events[device] = done[device]
                                                      ? (new EventInstance(done[device]))->Wrap()
                                                      : EventInstance::MakeReady();
        }
    }
    return {};
}

}  // namespace jax_ane::pjrt
