// SPDX-License-Identifier: Apache-2.0
// Asserts the size, the stated struct_size and every offset of the PJRT C API, as measured from
// the API's version 0.112 (LP64: x86-64 Linux and arm64 macOS agree). A generated list.
#include <cstddef>

#include "pjrt/c_api.h"

namespace jax_ane::pjrt {
namespace {

static_assert(sizeof(PJRT_Extension_Base) == 24 && kStructSize<PJRT_Extension_Base> == 24);
static_assert(offsetof(PJRT_Extension_Base, type) == 8);
static_assert(offsetof(PJRT_Extension_Base, next) == 16);
static_assert(sizeof(PJRT_Api_Version) == 24 && kStructSize<PJRT_Api_Version> == 24);
static_assert(offsetof(PJRT_Api_Version, major_version) == 16);
static_assert(offsetof(PJRT_Api_Version, minor_version) == 20);
static_assert(sizeof(PJRT_Error_Destroy_Args) == 24 && kStructSize<PJRT_Error_Destroy_Args> == 24);
static_assert(offsetof(PJRT_Error_Destroy_Args, error) == 16);
static_assert(sizeof(PJRT_Error_Message_Args) == 40 && kStructSize<PJRT_Error_Message_Args> == 40);
static_assert(offsetof(PJRT_Error_Message_Args, error) == 16);
static_assert(offsetof(PJRT_Error_Message_Args, message) == 24);
static_assert(offsetof(PJRT_Error_Message_Args, message_size) == 32);
static_assert(sizeof(PJRT_Error_FunctionTable) == 56 &&
              kStructSize<PJRT_Error_FunctionTable> == 56);
static_assert(offsetof(PJRT_Error_FunctionTable, instance_size) == 8);
static_assert(offsetof(PJRT_Error_FunctionTable, extension_start) == 16);
static_assert(offsetof(PJRT_Error_FunctionTable, destroy) == 24);
static_assert(offsetof(PJRT_Error_FunctionTable, message) == 32);
static_assert(offsetof(PJRT_Error_FunctionTable, get_code) == 40);
static_assert(offsetof(PJRT_Error_FunctionTable, for_each_payload) == 48);
static_assert(sizeof(PJRT_Error) == 8 && kStructSize<PJRT_Error> == 8);
static_assert(offsetof(PJRT_Error, vtable) == 0);
static_assert(sizeof(PJRT_Error_GetCode_Args) == 32 && kStructSize<PJRT_Error_GetCode_Args> == 28);
static_assert(offsetof(PJRT_Error_GetCode_Args, error) == 16);
static_assert(offsetof(PJRT_Error_GetCode_Args, code) == 24);
static_assert(sizeof(PJRT_Error_ForEachPayload_Args) == 40 &&
              kStructSize<PJRT_Error_ForEachPayload_Args> == 40);
static_assert(offsetof(PJRT_Error_ForEachPayload_Args, error) == 16);
static_assert(offsetof(PJRT_Error_ForEachPayload_Args, visitor) == 24);
static_assert(offsetof(PJRT_Error_ForEachPayload_Args, user_arg) == 32);
static_assert(sizeof(PJRT_NamedValue) == 56 && kStructSize<PJRT_NamedValue> == 56);
static_assert(offsetof(PJRT_NamedValue, name) == 16);
static_assert(offsetof(PJRT_NamedValue, name_size) == 24);
static_assert(offsetof(PJRT_NamedValue, type) == 32);
static_assert(offsetof(PJRT_NamedValue, string_value) == 40);
static_assert(offsetof(PJRT_NamedValue, int64_value) == 40);
static_assert(offsetof(PJRT_NamedValue, int64_array_value) == 40);
static_assert(offsetof(PJRT_NamedValue, float_value) == 40);
static_assert(offsetof(PJRT_NamedValue, bool_value) == 40);
static_assert(offsetof(PJRT_NamedValue, value_size) == 48);
static_assert(sizeof(PJRT_Plugin_Initialize_Args) == 16 &&
              kStructSize<PJRT_Plugin_Initialize_Args> == 16);
static_assert(sizeof(PJRT_Plugin_Attributes_Args) == 32 &&
              kStructSize<PJRT_Plugin_Attributes_Args> == 32);
static_assert(offsetof(PJRT_Plugin_Attributes_Args, attributes) == 16);
static_assert(offsetof(PJRT_Plugin_Attributes_Args, num_attributes) == 24);
static_assert(sizeof(PJRT_Event_Destroy_Args) == 24 && kStructSize<PJRT_Event_Destroy_Args> == 24);
static_assert(offsetof(PJRT_Event_Destroy_Args, event) == 16);
static_assert(sizeof(PJRT_Event_IsReady_Args) == 32 && kStructSize<PJRT_Event_IsReady_Args> == 25);
static_assert(offsetof(PJRT_Event_IsReady_Args, event) == 16);
static_assert(offsetof(PJRT_Event_IsReady_Args, is_ready) == 24);
static_assert(sizeof(PJRT_Event_Error_Args) == 24 && kStructSize<PJRT_Event_Error_Args> == 24);
static_assert(offsetof(PJRT_Event_Error_Args, event) == 16);
static_assert(sizeof(PJRT_Event_Await_Args) == 24 && kStructSize<PJRT_Event_Await_Args> == 24);
static_assert(offsetof(PJRT_Event_Await_Args, event) == 16);
static_assert(sizeof(PJRT_Event_OnReady_Args) == 40 && kStructSize<PJRT_Event_OnReady_Args> == 40);
static_assert(offsetof(PJRT_Event_OnReady_Args, event) == 16);
static_assert(offsetof(PJRT_Event_OnReady_Args, callback) == 24);
static_assert(offsetof(PJRT_Event_OnReady_Args, user_arg) == 32);
static_assert(sizeof(PJRT_Event_Create_Args) == 24 && kStructSize<PJRT_Event_Create_Args> == 24);
static_assert(offsetof(PJRT_Event_Create_Args, event) == 16);
static_assert(sizeof(PJRT_Event_Set_Args) == 48 && kStructSize<PJRT_Event_Set_Args> == 48);
static_assert(offsetof(PJRT_Event_Set_Args, event) == 16);
static_assert(offsetof(PJRT_Event_Set_Args, error_code) == 24);
static_assert(offsetof(PJRT_Event_Set_Args, error_message) == 32);
static_assert(offsetof(PJRT_Event_Set_Args, error_message_size) == 40);
static_assert(sizeof(PJRT_Memory_FunctionTable) == 40 &&
              kStructSize<PJRT_Memory_FunctionTable> == 40);
static_assert(offsetof(PJRT_Memory_FunctionTable, instance_struct_size) == 16);
static_assert(offsetof(PJRT_Memory_FunctionTable, get_user_data) == 24);
static_assert(offsetof(PJRT_Memory_FunctionTable, set_user_data) == 32);
static_assert(sizeof(PJRT_Memory) == 8 && kStructSize<PJRT_Memory> == 8);
static_assert(offsetof(PJRT_Memory, vtable) == 0);
static_assert(sizeof(PJRT_KeyValueGetCallback_Args) == 80 &&
              kStructSize<PJRT_KeyValueGetCallback_Args> == 80);
static_assert(offsetof(PJRT_KeyValueGetCallback_Args, key) == 16);
static_assert(offsetof(PJRT_KeyValueGetCallback_Args, key_size) == 24);
static_assert(offsetof(PJRT_KeyValueGetCallback_Args, timeout_in_ms) == 32);
static_assert(offsetof(PJRT_KeyValueGetCallback_Args, callback_error) == 40);
static_assert(offsetof(PJRT_KeyValueGetCallback_Args, user_arg) == 48);
static_assert(offsetof(PJRT_KeyValueGetCallback_Args, value) == 56);
static_assert(offsetof(PJRT_KeyValueGetCallback_Args, value_size) == 64);
static_assert(offsetof(PJRT_KeyValueGetCallback_Args, value_deleter_callback) == 72);
static_assert(sizeof(PJRT_KeyValueTryGetCallback_Args) == 72 &&
              kStructSize<PJRT_KeyValueTryGetCallback_Args> == 72);
static_assert(offsetof(PJRT_KeyValueTryGetCallback_Args, key) == 16);
static_assert(offsetof(PJRT_KeyValueTryGetCallback_Args, key_size) == 24);
static_assert(offsetof(PJRT_KeyValueTryGetCallback_Args, callback_error) == 32);
static_assert(offsetof(PJRT_KeyValueTryGetCallback_Args, user_arg) == 40);
static_assert(offsetof(PJRT_KeyValueTryGetCallback_Args, value) == 48);
static_assert(offsetof(PJRT_KeyValueTryGetCallback_Args, value_size) == 56);
static_assert(offsetof(PJRT_KeyValueTryGetCallback_Args, value_deleter_callback) == 64);
static_assert(sizeof(PJRT_KeyValuePutCallback_Args) == 64 &&
              kStructSize<PJRT_KeyValuePutCallback_Args> == 64);
static_assert(offsetof(PJRT_KeyValuePutCallback_Args, key) == 16);
static_assert(offsetof(PJRT_KeyValuePutCallback_Args, key_size) == 24);
static_assert(offsetof(PJRT_KeyValuePutCallback_Args, value) == 32);
static_assert(offsetof(PJRT_KeyValuePutCallback_Args, value_size) == 40);
static_assert(offsetof(PJRT_KeyValuePutCallback_Args, callback_error) == 48);
static_assert(offsetof(PJRT_KeyValuePutCallback_Args, user_arg) == 56);
static_assert(sizeof(PJRT_Client_Create_Args) == 88 && kStructSize<PJRT_Client_Create_Args> == 88);
static_assert(offsetof(PJRT_Client_Create_Args, create_options) == 16);
static_assert(offsetof(PJRT_Client_Create_Args, num_options) == 24);
static_assert(offsetof(PJRT_Client_Create_Args, kv_get_callback) == 32);
static_assert(offsetof(PJRT_Client_Create_Args, kv_get_user_arg) == 40);
static_assert(offsetof(PJRT_Client_Create_Args, kv_put_callback) == 48);
static_assert(offsetof(PJRT_Client_Create_Args, kv_put_user_arg) == 56);
static_assert(offsetof(PJRT_Client_Create_Args, client) == 64);
static_assert(offsetof(PJRT_Client_Create_Args, kv_try_get_callback) == 72);
static_assert(offsetof(PJRT_Client_Create_Args, kv_try_get_user_arg) == 80);
static_assert(sizeof(PJRT_Client_Destroy_Args) == 24 &&
              kStructSize<PJRT_Client_Destroy_Args> == 24);
static_assert(offsetof(PJRT_Client_Destroy_Args, client) == 16);
static_assert(sizeof(PJRT_Client_PlatformName_Args) == 40 &&
              kStructSize<PJRT_Client_PlatformName_Args> == 40);
static_assert(offsetof(PJRT_Client_PlatformName_Args, client) == 16);
static_assert(offsetof(PJRT_Client_PlatformName_Args, platform_name) == 24);
static_assert(offsetof(PJRT_Client_PlatformName_Args, platform_name_size) == 32);
static_assert(sizeof(PJRT_Client_ProcessIndex_Args) == 32 &&
              kStructSize<PJRT_Client_ProcessIndex_Args> == 28);
static_assert(offsetof(PJRT_Client_ProcessIndex_Args, client) == 16);
static_assert(offsetof(PJRT_Client_ProcessIndex_Args, process_index) == 24);
static_assert(sizeof(PJRT_Client_PlatformVersion_Args) == 40 &&
              kStructSize<PJRT_Client_PlatformVersion_Args> == 40);
static_assert(offsetof(PJRT_Client_PlatformVersion_Args, client) == 16);
static_assert(offsetof(PJRT_Client_PlatformVersion_Args, platform_version) == 24);
static_assert(offsetof(PJRT_Client_PlatformVersion_Args, platform_version_size) == 32);
static_assert(sizeof(PJRT_Client_TopologyDescription_Args) == 32 &&
              kStructSize<PJRT_Client_TopologyDescription_Args> == 32);
static_assert(offsetof(PJRT_Client_TopologyDescription_Args, client) == 16);
static_assert(offsetof(PJRT_Client_TopologyDescription_Args, topology) == 24);
static_assert(sizeof(PJRT_Client_Devices_Args) == 40 &&
              kStructSize<PJRT_Client_Devices_Args> == 40);
static_assert(offsetof(PJRT_Client_Devices_Args, client) == 16);
static_assert(offsetof(PJRT_Client_Devices_Args, devices) == 24);
static_assert(offsetof(PJRT_Client_Devices_Args, num_devices) == 32);
static_assert(sizeof(PJRT_Client_AddressableDevices_Args) == 40 &&
              kStructSize<PJRT_Client_AddressableDevices_Args> == 40);
static_assert(offsetof(PJRT_Client_AddressableDevices_Args, client) == 16);
static_assert(offsetof(PJRT_Client_AddressableDevices_Args, addressable_devices) == 24);
static_assert(offsetof(PJRT_Client_AddressableDevices_Args, num_addressable_devices) == 32);
static_assert(sizeof(PJRT_Client_LookupDevice_Args) == 40 &&
              kStructSize<PJRT_Client_LookupDevice_Args> == 40);
static_assert(offsetof(PJRT_Client_LookupDevice_Args, client) == 16);
static_assert(offsetof(PJRT_Client_LookupDevice_Args, id) == 24);
static_assert(offsetof(PJRT_Client_LookupDevice_Args, device) == 32);
static_assert(sizeof(PJRT_Client_LookupAddressableDevice_Args) == 40 &&
              kStructSize<PJRT_Client_LookupAddressableDevice_Args> == 40);
static_assert(offsetof(PJRT_Client_LookupAddressableDevice_Args, client) == 16);
static_assert(offsetof(PJRT_Client_LookupAddressableDevice_Args, local_hardware_id) == 24);
static_assert(offsetof(PJRT_Client_LookupAddressableDevice_Args, addressable_device) == 32);
static_assert(sizeof(PJRT_ProcessInfo) == 48 && kStructSize<PJRT_ProcessInfo> == 48);
static_assert(offsetof(PJRT_ProcessInfo, task_id) == 8);
static_assert(offsetof(PJRT_ProcessInfo, incarnation_id) == 16);
static_assert(offsetof(PJRT_ProcessInfo, state) == 24);
static_assert(offsetof(PJRT_ProcessInfo, error_code) == 28);
static_assert(offsetof(PJRT_ProcessInfo, error_message) == 32);
static_assert(offsetof(PJRT_ProcessInfo, error_message_size) == 40);
static_assert(sizeof(PJRT_Client_UpdateGlobalProcessInfo_Args) == 40 &&
              kStructSize<PJRT_Client_UpdateGlobalProcessInfo_Args> == 40);
static_assert(offsetof(PJRT_Client_UpdateGlobalProcessInfo_Args, client) == 16);
static_assert(offsetof(PJRT_Client_UpdateGlobalProcessInfo_Args, process_infos) == 24);
static_assert(offsetof(PJRT_Client_UpdateGlobalProcessInfo_Args, num_process_infos) == 32);
static_assert(sizeof(PJRT_Client_AddressableMemories_Args) == 40 &&
              kStructSize<PJRT_Client_AddressableMemories_Args> == 40);
static_assert(offsetof(PJRT_Client_AddressableMemories_Args, client) == 16);
static_assert(offsetof(PJRT_Client_AddressableMemories_Args, addressable_memories) == 24);
static_assert(offsetof(PJRT_Client_AddressableMemories_Args, num_addressable_memories) == 32);
static_assert(sizeof(PJRT_Program) == 48 && kStructSize<PJRT_Program> == 48);
static_assert(offsetof(PJRT_Program, code) == 16);
static_assert(offsetof(PJRT_Program, code_size) == 24);
static_assert(offsetof(PJRT_Program, format) == 32);
static_assert(offsetof(PJRT_Program, format_size) == 40);
static_assert(sizeof(PJRT_Client_Compile_Args) == 56 &&
              kStructSize<PJRT_Client_Compile_Args> == 56);
static_assert(offsetof(PJRT_Client_Compile_Args, client) == 16);
static_assert(offsetof(PJRT_Client_Compile_Args, program) == 24);
static_assert(offsetof(PJRT_Client_Compile_Args, compile_options) == 32);
static_assert(offsetof(PJRT_Client_Compile_Args, compile_options_size) == 40);
static_assert(offsetof(PJRT_Client_Compile_Args, executable) == 48);
static_assert(sizeof(PJRT_Client_Load_Args) == 56 && kStructSize<PJRT_Client_Load_Args> == 56);
static_assert(offsetof(PJRT_Client_Load_Args, client) == 16);
static_assert(offsetof(PJRT_Client_Load_Args, executable) == 24);
static_assert(offsetof(PJRT_Client_Load_Args, compile_options) == 32);
static_assert(offsetof(PJRT_Client_Load_Args, compile_options_size) == 40);
static_assert(offsetof(PJRT_Client_Load_Args, loaded_executable) == 48);
static_assert(sizeof(PJRT_Client_DefaultDeviceAssignment_Args) == 48 &&
              kStructSize<PJRT_Client_DefaultDeviceAssignment_Args> == 48);
static_assert(offsetof(PJRT_Client_DefaultDeviceAssignment_Args, client) == 16);
static_assert(offsetof(PJRT_Client_DefaultDeviceAssignment_Args, num_replicas) == 24);
static_assert(offsetof(PJRT_Client_DefaultDeviceAssignment_Args, num_partitions) == 28);
static_assert(offsetof(PJRT_Client_DefaultDeviceAssignment_Args, default_assignment_size) == 32);
static_assert(offsetof(PJRT_Client_DefaultDeviceAssignment_Args, default_assignment) == 40);
static_assert(sizeof(PJRT_Client_DmaMap_Args) == 40 && kStructSize<PJRT_Client_DmaMap_Args> == 40);
static_assert(offsetof(PJRT_Client_DmaMap_Args, client) == 16);
static_assert(offsetof(PJRT_Client_DmaMap_Args, data) == 24);
static_assert(offsetof(PJRT_Client_DmaMap_Args, size) == 32);
static_assert(sizeof(PJRT_Client_DmaUnmap_Args) == 32 &&
              kStructSize<PJRT_Client_DmaUnmap_Args> == 32);
static_assert(offsetof(PJRT_Client_DmaUnmap_Args, client) == 16);
static_assert(offsetof(PJRT_Client_DmaUnmap_Args, data) == 24);
static_assert(sizeof(PJRT_AsyncHostToDeviceTransferManager_Destroy_Args) == 24 &&
              kStructSize<PJRT_AsyncHostToDeviceTransferManager_Destroy_Args> == 24);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_Destroy_Args, transfer_manager) == 16);
static_assert(sizeof(PJRT_AsyncHostToDeviceTransferManager_TransferData_Args) == 72 &&
              kStructSize<PJRT_AsyncHostToDeviceTransferManager_TransferData_Args> == 72);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_TransferData_Args, transfer_manager) ==
              16);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_TransferData_Args, buffer_index) ==
              24);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_TransferData_Args, data) == 32);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_TransferData_Args, offset) == 40);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_TransferData_Args, transfer_size) ==
              48);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_TransferData_Args, is_last_transfer) ==
              56);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_TransferData_Args,
                       done_with_h2d_transfer) == 64);
static_assert(sizeof(PJRT_AsyncHostToDeviceTransferManager_RetrieveBuffer_Args) == 40 &&
              kStructSize<PJRT_AsyncHostToDeviceTransferManager_RetrieveBuffer_Args> == 40);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_RetrieveBuffer_Args,
                       transfer_manager) == 16);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_RetrieveBuffer_Args, buffer_index) ==
              24);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_RetrieveBuffer_Args, buffer_out) ==
              32);
static_assert(sizeof(PJRT_AsyncHostToDeviceTransferManager_Device_Args) == 32 &&
              kStructSize<PJRT_AsyncHostToDeviceTransferManager_Device_Args> == 32);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_Device_Args, transfer_manager) == 16);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_Device_Args, device_out) == 24);
static_assert(sizeof(PJRT_AsyncHostToDeviceTransferManager_BufferCount_Args) == 32 &&
              kStructSize<PJRT_AsyncHostToDeviceTransferManager_BufferCount_Args> == 32);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_BufferCount_Args, transfer_manager) ==
              16);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_BufferCount_Args, buffer_count) == 24);
static_assert(sizeof(PJRT_AsyncHostToDeviceTransferManager_BufferSize_Args) == 40 &&
              kStructSize<PJRT_AsyncHostToDeviceTransferManager_BufferSize_Args> == 40);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_BufferSize_Args, transfer_manager) ==
              16);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_BufferSize_Args, buffer_index) == 24);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_BufferSize_Args, buffer_size) == 32);
static_assert(sizeof(PJRT_AsyncHostToDeviceTransferManager_SetBufferError_Args) == 48 &&
              kStructSize<PJRT_AsyncHostToDeviceTransferManager_SetBufferError_Args> == 48);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_SetBufferError_Args,
                       transfer_manager) == 16);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_SetBufferError_Args, buffer_index) ==
              24);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_SetBufferError_Args, error_code) ==
              28);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_SetBufferError_Args, error_message) ==
              32);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_SetBufferError_Args,
                       error_message_size) == 40);
static_assert(sizeof(PJRT_AsyncHostToDeviceTransferManager_AddMetadata_Args) == 40 &&
              kStructSize<PJRT_AsyncHostToDeviceTransferManager_AddMetadata_Args> == 40);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_AddMetadata_Args, transfer_manager) ==
              16);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_AddMetadata_Args, transfer_metadata) ==
              24);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_AddMetadata_Args, num_metadata) == 32);
static_assert(sizeof(PJRT_Buffer_MemoryLayout_Tiled) == 56 &&
              kStructSize<PJRT_Buffer_MemoryLayout_Tiled> == 56);
static_assert(offsetof(PJRT_Buffer_MemoryLayout_Tiled, minor_to_major) == 16);
static_assert(offsetof(PJRT_Buffer_MemoryLayout_Tiled, minor_to_major_size) == 24);
static_assert(offsetof(PJRT_Buffer_MemoryLayout_Tiled, tile_dims) == 32);
static_assert(offsetof(PJRT_Buffer_MemoryLayout_Tiled, tile_dim_sizes) == 40);
static_assert(offsetof(PJRT_Buffer_MemoryLayout_Tiled, num_tiles) == 48);
static_assert(sizeof(PJRT_Buffer_MemoryLayout_Strides) == 32 &&
              kStructSize<PJRT_Buffer_MemoryLayout_Strides> == 32);
static_assert(offsetof(PJRT_Buffer_MemoryLayout_Strides, byte_strides) == 16);
static_assert(offsetof(PJRT_Buffer_MemoryLayout_Strides, num_byte_strides) == 24);
static_assert(sizeof(PJRT_Buffer_MemoryLayout) == 80 &&
              kStructSize<PJRT_Buffer_MemoryLayout> == 76);
static_assert(offsetof(PJRT_Buffer_MemoryLayout, tiled) == 16);
static_assert(offsetof(PJRT_Buffer_MemoryLayout, strides) == 16);
static_assert(offsetof(PJRT_Buffer_MemoryLayout, type) == 72);
static_assert(sizeof(PJRT_AsyncHostToDeviceTransferManager_TransferLiteral_Args) == 80 &&
              kStructSize<PJRT_AsyncHostToDeviceTransferManager_TransferLiteral_Args> == 80);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_TransferLiteral_Args,
                       transfer_manager) == 16);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_TransferLiteral_Args, buffer_index) ==
              24);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_TransferLiteral_Args, data) == 32);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_TransferLiteral_Args, shape_dims) ==
              40);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_TransferLiteral_Args,
                       shape_num_dims) == 48);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_TransferLiteral_Args,
                       shape_element_type) == 56);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_TransferLiteral_Args, shape_layout) ==
              64);
static_assert(offsetof(PJRT_AsyncHostToDeviceTransferManager_TransferLiteral_Args,
                       done_with_h2d_transfer) == 72);
static_assert(sizeof(PJRT_Client_CreateUninitializedBuffer_Args) == 80 &&
              kStructSize<PJRT_Client_CreateUninitializedBuffer_Args> == 80);
static_assert(offsetof(PJRT_Client_CreateUninitializedBuffer_Args, client) == 16);
static_assert(offsetof(PJRT_Client_CreateUninitializedBuffer_Args, shape_dims) == 24);
static_assert(offsetof(PJRT_Client_CreateUninitializedBuffer_Args, shape_num_dims) == 32);
static_assert(offsetof(PJRT_Client_CreateUninitializedBuffer_Args, shape_element_type) == 40);
static_assert(offsetof(PJRT_Client_CreateUninitializedBuffer_Args, shape_layout) == 48);
static_assert(offsetof(PJRT_Client_CreateUninitializedBuffer_Args, device) == 56);
static_assert(offsetof(PJRT_Client_CreateUninitializedBuffer_Args, memory) == 64);
static_assert(offsetof(PJRT_Client_CreateUninitializedBuffer_Args, buffer) == 72);
static_assert(sizeof(PJRT_Client_CreateErrorBuffer_Args) == 112 &&
              kStructSize<PJRT_Client_CreateErrorBuffer_Args> == 112);
static_assert(offsetof(PJRT_Client_CreateErrorBuffer_Args, client) == 16);
static_assert(offsetof(PJRT_Client_CreateErrorBuffer_Args, error_code) == 24);
static_assert(offsetof(PJRT_Client_CreateErrorBuffer_Args, error_message) == 32);
static_assert(offsetof(PJRT_Client_CreateErrorBuffer_Args, error_message_size) == 40);
static_assert(offsetof(PJRT_Client_CreateErrorBuffer_Args, shape_dims) == 48);
static_assert(offsetof(PJRT_Client_CreateErrorBuffer_Args, shape_num_dims) == 56);
static_assert(offsetof(PJRT_Client_CreateErrorBuffer_Args, shape_element_type) == 64);
static_assert(offsetof(PJRT_Client_CreateErrorBuffer_Args, shape_layout) == 72);
static_assert(offsetof(PJRT_Client_CreateErrorBuffer_Args, memory) == 80);
static_assert(offsetof(PJRT_Client_CreateErrorBuffer_Args, buffer) == 88);
static_assert(offsetof(PJRT_Client_CreateErrorBuffer_Args, payload) == 96);
static_assert(offsetof(PJRT_Client_CreateErrorBuffer_Args, num_payload) == 104);
static_assert(sizeof(PJRT_Client_CreateAliasBuffer_Args) == 80 &&
              kStructSize<PJRT_Client_CreateAliasBuffer_Args> == 80);
static_assert(offsetof(PJRT_Client_CreateAliasBuffer_Args, client) == 16);
static_assert(offsetof(PJRT_Client_CreateAliasBuffer_Args, memory) == 24);
static_assert(offsetof(PJRT_Client_CreateAliasBuffer_Args, shape_dims) == 32);
static_assert(offsetof(PJRT_Client_CreateAliasBuffer_Args, shape_num_dims) == 40);
static_assert(offsetof(PJRT_Client_CreateAliasBuffer_Args, shape_element_type) == 48);
static_assert(offsetof(PJRT_Client_CreateAliasBuffer_Args, shape_layout) == 56);
static_assert(offsetof(PJRT_Client_CreateAliasBuffer_Args, alias_buffer) == 64);
static_assert(offsetof(PJRT_Client_CreateAliasBuffer_Args, fulfill_alias_buffer_cb) == 72);
static_assert(sizeof(PJRT_Client_FulfillAliasBuffer_Args) == 64 &&
              kStructSize<PJRT_Client_FulfillAliasBuffer_Args> == 64);
static_assert(offsetof(PJRT_Client_FulfillAliasBuffer_Args, client) == 16);
static_assert(offsetof(PJRT_Client_FulfillAliasBuffer_Args, buffer) == 24);
static_assert(offsetof(PJRT_Client_FulfillAliasBuffer_Args, status_code) == 32);
static_assert(offsetof(PJRT_Client_FulfillAliasBuffer_Args, error_message) == 40);
static_assert(offsetof(PJRT_Client_FulfillAliasBuffer_Args, error_message_size) == 48);
static_assert(offsetof(PJRT_Client_FulfillAliasBuffer_Args, fulfill_alias_buffer_cb) == 56);
static_assert(sizeof(PJRT_Client_BufferFromHostBuffer_Args) == 120 &&
              kStructSize<PJRT_Client_BufferFromHostBuffer_Args> == 120);
static_assert(offsetof(PJRT_Client_BufferFromHostBuffer_Args, client) == 16);
static_assert(offsetof(PJRT_Client_BufferFromHostBuffer_Args, data) == 24);
static_assert(offsetof(PJRT_Client_BufferFromHostBuffer_Args, type) == 32);
static_assert(offsetof(PJRT_Client_BufferFromHostBuffer_Args, dims) == 40);
static_assert(offsetof(PJRT_Client_BufferFromHostBuffer_Args, num_dims) == 48);
static_assert(offsetof(PJRT_Client_BufferFromHostBuffer_Args, byte_strides) == 56);
static_assert(offsetof(PJRT_Client_BufferFromHostBuffer_Args, num_byte_strides) == 64);
static_assert(offsetof(PJRT_Client_BufferFromHostBuffer_Args, host_buffer_semantics) == 72);
static_assert(offsetof(PJRT_Client_BufferFromHostBuffer_Args, device) == 80);
static_assert(offsetof(PJRT_Client_BufferFromHostBuffer_Args, memory) == 88);
static_assert(offsetof(PJRT_Client_BufferFromHostBuffer_Args, device_layout) == 96);
static_assert(offsetof(PJRT_Client_BufferFromHostBuffer_Args, done_with_host_buffer) == 104);
static_assert(offsetof(PJRT_Client_BufferFromHostBuffer_Args, buffer) == 112);
static_assert(sizeof(PJRT_Client_CreateViewOfDeviceBuffer_Args) == 112 &&
              kStructSize<PJRT_Client_CreateViewOfDeviceBuffer_Args> == 112);
static_assert(offsetof(PJRT_Client_CreateViewOfDeviceBuffer_Args, client) == 16);
static_assert(offsetof(PJRT_Client_CreateViewOfDeviceBuffer_Args, device_buffer_ptr) == 24);
static_assert(offsetof(PJRT_Client_CreateViewOfDeviceBuffer_Args, dims) == 32);
static_assert(offsetof(PJRT_Client_CreateViewOfDeviceBuffer_Args, num_dims) == 40);
static_assert(offsetof(PJRT_Client_CreateViewOfDeviceBuffer_Args, element_type) == 48);
static_assert(offsetof(PJRT_Client_CreateViewOfDeviceBuffer_Args, layout) == 56);
static_assert(offsetof(PJRT_Client_CreateViewOfDeviceBuffer_Args, device) == 64);
static_assert(offsetof(PJRT_Client_CreateViewOfDeviceBuffer_Args, on_delete_callback) == 72);
static_assert(offsetof(PJRT_Client_CreateViewOfDeviceBuffer_Args, on_delete_callback_arg) == 80);
static_assert(offsetof(PJRT_Client_CreateViewOfDeviceBuffer_Args, stream) == 88);
static_assert(offsetof(PJRT_Client_CreateViewOfDeviceBuffer_Args, buffer) == 96);
static_assert(offsetof(PJRT_Client_CreateViewOfDeviceBuffer_Args, memory) == 104);
static_assert(sizeof(PJRT_ShapeSpec) == 40 && kStructSize<PJRT_ShapeSpec> == 36);
static_assert(offsetof(PJRT_ShapeSpec, dims) == 16);
static_assert(offsetof(PJRT_ShapeSpec, num_dims) == 24);
static_assert(offsetof(PJRT_ShapeSpec, element_type) == 32);
static_assert(sizeof(PJRT_Client_CreateBuffersForAsyncHostToDevice_Args) == 72 &&
              kStructSize<PJRT_Client_CreateBuffersForAsyncHostToDevice_Args> == 72);
static_assert(offsetof(PJRT_Client_CreateBuffersForAsyncHostToDevice_Args, client) == 16);
static_assert(offsetof(PJRT_Client_CreateBuffersForAsyncHostToDevice_Args, shape_specs) == 24);
static_assert(offsetof(PJRT_Client_CreateBuffersForAsyncHostToDevice_Args, num_shape_specs) == 32);
static_assert(offsetof(PJRT_Client_CreateBuffersForAsyncHostToDevice_Args, device_layouts) == 40);
static_assert(offsetof(PJRT_Client_CreateBuffersForAsyncHostToDevice_Args, num_device_layouts) ==
              48);
static_assert(offsetof(PJRT_Client_CreateBuffersForAsyncHostToDevice_Args, memory) == 56);
static_assert(offsetof(PJRT_Client_CreateBuffersForAsyncHostToDevice_Args, transfer_manager) == 64);
static_assert(sizeof(PJRT_DeviceDescription_Id_Args) == 32 &&
              kStructSize<PJRT_DeviceDescription_Id_Args> == 28);
static_assert(offsetof(PJRT_DeviceDescription_Id_Args, device_description) == 16);
static_assert(offsetof(PJRT_DeviceDescription_Id_Args, id) == 24);
static_assert(sizeof(PJRT_DeviceDescription_ProcessIndex_Args) == 32 &&
              kStructSize<PJRT_DeviceDescription_ProcessIndex_Args> == 28);
static_assert(offsetof(PJRT_DeviceDescription_ProcessIndex_Args, device_description) == 16);
static_assert(offsetof(PJRT_DeviceDescription_ProcessIndex_Args, process_index) == 24);
static_assert(sizeof(PJRT_DeviceDescription_Attributes_Args) == 40 &&
              kStructSize<PJRT_DeviceDescription_Attributes_Args> == 40);
static_assert(offsetof(PJRT_DeviceDescription_Attributes_Args, device_description) == 16);
static_assert(offsetof(PJRT_DeviceDescription_Attributes_Args, num_attributes) == 24);
static_assert(offsetof(PJRT_DeviceDescription_Attributes_Args, attributes) == 32);
static_assert(sizeof(PJRT_DeviceDescription_Kind_Args) == 40 &&
              kStructSize<PJRT_DeviceDescription_Kind_Args> == 40);
static_assert(offsetof(PJRT_DeviceDescription_Kind_Args, device_description) == 16);
static_assert(offsetof(PJRT_DeviceDescription_Kind_Args, device_kind) == 24);
static_assert(offsetof(PJRT_DeviceDescription_Kind_Args, device_kind_size) == 32);
static_assert(sizeof(PJRT_DeviceDescription_DebugString_Args) == 40 &&
              kStructSize<PJRT_DeviceDescription_DebugString_Args> == 40);
static_assert(offsetof(PJRT_DeviceDescription_DebugString_Args, device_description) == 16);
static_assert(offsetof(PJRT_DeviceDescription_DebugString_Args, debug_string) == 24);
static_assert(offsetof(PJRT_DeviceDescription_DebugString_Args, debug_string_size) == 32);
static_assert(sizeof(PJRT_DeviceDescription_ToString_Args) == 40 &&
              kStructSize<PJRT_DeviceDescription_ToString_Args> == 40);
static_assert(offsetof(PJRT_DeviceDescription_ToString_Args, device_description) == 16);
static_assert(offsetof(PJRT_DeviceDescription_ToString_Args, to_string) == 24);
static_assert(offsetof(PJRT_DeviceDescription_ToString_Args, to_string_size) == 32);
static_assert(sizeof(PJRT_Device_GetDescription_Args) == 32 &&
              kStructSize<PJRT_Device_GetDescription_Args> == 32);
static_assert(offsetof(PJRT_Device_GetDescription_Args, device) == 16);
static_assert(offsetof(PJRT_Device_GetDescription_Args, device_description) == 24);
static_assert(sizeof(PJRT_Device_IsAddressable_Args) == 32 &&
              kStructSize<PJRT_Device_IsAddressable_Args> == 25);
static_assert(offsetof(PJRT_Device_IsAddressable_Args, device) == 16);
static_assert(offsetof(PJRT_Device_IsAddressable_Args, is_addressable) == 24);
static_assert(sizeof(PJRT_Device_LocalHardwareId_Args) == 32 &&
              kStructSize<PJRT_Device_LocalHardwareId_Args> == 28);
static_assert(offsetof(PJRT_Device_LocalHardwareId_Args, device) == 16);
static_assert(offsetof(PJRT_Device_LocalHardwareId_Args, local_hardware_id) == 24);
static_assert(sizeof(PJRT_Device_AddressableMemories_Args) == 40 &&
              kStructSize<PJRT_Device_AddressableMemories_Args> == 40);
static_assert(offsetof(PJRT_Device_AddressableMemories_Args, device) == 16);
static_assert(offsetof(PJRT_Device_AddressableMemories_Args, memories) == 24);
static_assert(offsetof(PJRT_Device_AddressableMemories_Args, num_memories) == 32);
static_assert(sizeof(PJRT_Device_DefaultMemory_Args) == 32 &&
              kStructSize<PJRT_Device_DefaultMemory_Args> == 32);
static_assert(offsetof(PJRT_Device_DefaultMemory_Args, device) == 16);
static_assert(offsetof(PJRT_Device_DefaultMemory_Args, memory) == 24);
static_assert(sizeof(PJRT_Device_MemoryStats_Args) == 192 &&
              kStructSize<PJRT_Device_MemoryStats_Args> == 185);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, device) == 16);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, bytes_in_use) == 24);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, peak_bytes_in_use) == 32);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, peak_bytes_in_use_is_set) == 40);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, num_allocs) == 48);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, num_allocs_is_set) == 56);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, largest_alloc_size) == 64);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, largest_alloc_size_is_set) == 72);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, bytes_limit) == 80);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, bytes_limit_is_set) == 88);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, bytes_reserved) == 96);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, bytes_reserved_is_set) == 104);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, peak_bytes_reserved) == 112);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, peak_bytes_reserved_is_set) == 120);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, bytes_reservable_limit) == 128);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, bytes_reservable_limit_is_set) == 136);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, largest_free_block_bytes) == 144);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, largest_free_block_bytes_is_set) == 152);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, pool_bytes) == 160);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, pool_bytes_is_set) == 168);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, peak_pool_bytes) == 176);
static_assert(offsetof(PJRT_Device_MemoryStats_Args, peak_pool_bytes_is_set) == 184);
static_assert(sizeof(PJRT_Device_ClearMemoryStats_Args) == 24 &&
              kStructSize<PJRT_Device_ClearMemoryStats_Args> == 24);
static_assert(offsetof(PJRT_Device_ClearMemoryStats_Args, device) == 16);
static_assert(sizeof(PJRT_Device_PoisonExecution_Args) == 72 &&
              kStructSize<PJRT_Device_PoisonExecution_Args> == 72);
static_assert(offsetof(PJRT_Device_PoisonExecution_Args, device) == 16);
static_assert(offsetof(PJRT_Device_PoisonExecution_Args, launch_id) == 24);
static_assert(offsetof(PJRT_Device_PoisonExecution_Args, error_code) == 28);
static_assert(offsetof(PJRT_Device_PoisonExecution_Args, error_message) == 32);
static_assert(offsetof(PJRT_Device_PoisonExecution_Args, error_message_size) == 40);
static_assert(offsetof(PJRT_Device_PoisonExecution_Args, poisoned) == 48);
static_assert(offsetof(PJRT_Device_PoisonExecution_Args, payload) == 56);
static_assert(offsetof(PJRT_Device_PoisonExecution_Args, num_payload) == 64);
static_assert(sizeof(PJRT_Device_GetAttributes_Args) == 56 &&
              kStructSize<PJRT_Device_GetAttributes_Args> == 56);
static_assert(offsetof(PJRT_Device_GetAttributes_Args, device) == 16);
static_assert(offsetof(PJRT_Device_GetAttributes_Args, attributes) == 24);
static_assert(offsetof(PJRT_Device_GetAttributes_Args, num_attributes) == 32);
static_assert(offsetof(PJRT_Device_GetAttributes_Args, device_attributes) == 40);
static_assert(offsetof(PJRT_Device_GetAttributes_Args, attributes_deleter) == 48);
static_assert(sizeof(PJRT_Device_CreateAsyncTrackingEvent_Args) == 48 &&
              kStructSize<PJRT_Device_CreateAsyncTrackingEvent_Args> == 48);
static_assert(offsetof(PJRT_Device_CreateAsyncTrackingEvent_Args, device) == 16);
static_assert(offsetof(PJRT_Device_CreateAsyncTrackingEvent_Args, description) == 24);
static_assert(offsetof(PJRT_Device_CreateAsyncTrackingEvent_Args, description_size) == 32);
static_assert(offsetof(PJRT_Device_CreateAsyncTrackingEvent_Args, event) == 40);
static_assert(sizeof(PJRT_AsyncTrackingEvent_Destroy_Args) == 24 &&
              kStructSize<PJRT_AsyncTrackingEvent_Destroy_Args> == 24);
static_assert(offsetof(PJRT_AsyncTrackingEvent_Destroy_Args, event) == 16);
static_assert(sizeof(PJRT_Memory_Id_Args) == 32 && kStructSize<PJRT_Memory_Id_Args> == 28);
static_assert(offsetof(PJRT_Memory_Id_Args, memory) == 16);
static_assert(offsetof(PJRT_Memory_Id_Args, id) == 24);
static_assert(sizeof(PJRT_Memory_Kind_Args) == 40 && kStructSize<PJRT_Memory_Kind_Args> == 40);
static_assert(offsetof(PJRT_Memory_Kind_Args, memory) == 16);
static_assert(offsetof(PJRT_Memory_Kind_Args, kind) == 24);
static_assert(offsetof(PJRT_Memory_Kind_Args, kind_size) == 32);
static_assert(sizeof(PJRT_Memory_Kind_Id_Args) == 32 &&
              kStructSize<PJRT_Memory_Kind_Id_Args> == 28);
static_assert(offsetof(PJRT_Memory_Kind_Id_Args, memory) == 16);
static_assert(offsetof(PJRT_Memory_Kind_Id_Args, kind_id) == 24);
static_assert(sizeof(PJRT_Memory_DebugString_Args) == 40 &&
              kStructSize<PJRT_Memory_DebugString_Args> == 40);
static_assert(offsetof(PJRT_Memory_DebugString_Args, memory) == 16);
static_assert(offsetof(PJRT_Memory_DebugString_Args, debug_string) == 24);
static_assert(offsetof(PJRT_Memory_DebugString_Args, debug_string_size) == 32);
static_assert(sizeof(PJRT_Memory_ToString_Args) == 40 &&
              kStructSize<PJRT_Memory_ToString_Args> == 40);
static_assert(offsetof(PJRT_Memory_ToString_Args, memory) == 16);
static_assert(offsetof(PJRT_Memory_ToString_Args, to_string) == 24);
static_assert(offsetof(PJRT_Memory_ToString_Args, to_string_size) == 32);
static_assert(sizeof(PJRT_Memory_AddressableByDevices_Args) == 40 &&
              kStructSize<PJRT_Memory_AddressableByDevices_Args> == 40);
static_assert(offsetof(PJRT_Memory_AddressableByDevices_Args, memory) == 16);
static_assert(offsetof(PJRT_Memory_AddressableByDevices_Args, devices) == 24);
static_assert(offsetof(PJRT_Memory_AddressableByDevices_Args, num_devices) == 32);
static_assert(sizeof(PJRT_ExecuteContext_Create_Args) == 24 &&
              kStructSize<PJRT_ExecuteContext_Create_Args> == 24);
static_assert(offsetof(PJRT_ExecuteContext_Create_Args, context) == 16);
static_assert(sizeof(PJRT_ExecuteContext_Destroy_Args) == 24 &&
              kStructSize<PJRT_ExecuteContext_Destroy_Args> == 24);
static_assert(offsetof(PJRT_ExecuteContext_Destroy_Args, context) == 16);
static_assert(sizeof(PJRT_Executable_Destroy_Args) == 24 &&
              kStructSize<PJRT_Executable_Destroy_Args> == 24);
static_assert(offsetof(PJRT_Executable_Destroy_Args, executable) == 16);
static_assert(sizeof(PJRT_LoadedExecutable_Destroy_Args) == 24 &&
              kStructSize<PJRT_LoadedExecutable_Destroy_Args> == 24);
static_assert(offsetof(PJRT_LoadedExecutable_Destroy_Args, executable) == 16);
static_assert(sizeof(PJRT_LoadedExecutable_GetExecutable_Args) == 32 &&
              kStructSize<PJRT_LoadedExecutable_GetExecutable_Args> == 32);
static_assert(offsetof(PJRT_LoadedExecutable_GetExecutable_Args, loaded_executable) == 16);
static_assert(offsetof(PJRT_LoadedExecutable_GetExecutable_Args, executable) == 24);
static_assert(sizeof(PJRT_LoadedExecutable_GetDeviceAssignment_Args) == 56 &&
              kStructSize<PJRT_LoadedExecutable_GetDeviceAssignment_Args> == 56);
static_assert(offsetof(PJRT_LoadedExecutable_GetDeviceAssignment_Args, executable) == 16);
static_assert(offsetof(PJRT_LoadedExecutable_GetDeviceAssignment_Args, serialized_bytes) == 24);
static_assert(offsetof(PJRT_LoadedExecutable_GetDeviceAssignment_Args, serialized_bytes_size) ==
              32);
static_assert(offsetof(PJRT_LoadedExecutable_GetDeviceAssignment_Args,
                       serialized_device_assignment) == 40);
static_assert(offsetof(PJRT_LoadedExecutable_GetDeviceAssignment_Args,
                       serialized_device_assignment_deleter) == 48);
static_assert(sizeof(PJRT_Executable_Name_Args) == 40 &&
              kStructSize<PJRT_Executable_Name_Args> == 40);
static_assert(offsetof(PJRT_Executable_Name_Args, executable) == 16);
static_assert(offsetof(PJRT_Executable_Name_Args, executable_name) == 24);
static_assert(offsetof(PJRT_Executable_Name_Args, executable_name_size) == 32);
static_assert(sizeof(PJRT_Executable_NumReplicas_Args) == 32 &&
              kStructSize<PJRT_Executable_NumReplicas_Args> == 32);
static_assert(offsetof(PJRT_Executable_NumReplicas_Args, executable) == 16);
static_assert(offsetof(PJRT_Executable_NumReplicas_Args, num_replicas) == 24);
static_assert(sizeof(PJRT_Executable_NumPartitions_Args) == 32 &&
              kStructSize<PJRT_Executable_NumPartitions_Args> == 32);
static_assert(offsetof(PJRT_Executable_NumPartitions_Args, executable) == 16);
static_assert(offsetof(PJRT_Executable_NumPartitions_Args, num_partitions) == 24);
static_assert(sizeof(PJRT_LogicalDeviceIds) == 8 && kStructSize<PJRT_LogicalDeviceIds> == 8);
static_assert(offsetof(PJRT_LogicalDeviceIds, replica) == 0);
static_assert(offsetof(PJRT_LogicalDeviceIds, partition) == 4);
static_assert(sizeof(PJRT_LoadedExecutable_AddressableDevices_Args) == 40 &&
              kStructSize<PJRT_LoadedExecutable_AddressableDevices_Args> == 40);
static_assert(offsetof(PJRT_LoadedExecutable_AddressableDevices_Args, executable) == 16);
static_assert(offsetof(PJRT_LoadedExecutable_AddressableDevices_Args, addressable_devices) == 24);
static_assert(offsetof(PJRT_LoadedExecutable_AddressableDevices_Args, num_addressable_devices) ==
              32);
static_assert(sizeof(PJRT_LoadedExecutable_AddressableDeviceLogicalIds_Args) == 40 &&
              kStructSize<PJRT_LoadedExecutable_AddressableDeviceLogicalIds_Args> == 40);
static_assert(offsetof(PJRT_LoadedExecutable_AddressableDeviceLogicalIds_Args, executable) == 16);
static_assert(offsetof(PJRT_LoadedExecutable_AddressableDeviceLogicalIds_Args,
                       addressable_device_logical_ids) == 24);
static_assert(offsetof(PJRT_LoadedExecutable_AddressableDeviceLogicalIds_Args,
                       num_addressable_device_logical_ids) == 32);
static_assert(sizeof(PJRT_Executable_OptimizedProgram_Args) == 32 &&
              kStructSize<PJRT_Executable_OptimizedProgram_Args> == 32);
static_assert(offsetof(PJRT_Executable_OptimizedProgram_Args, executable) == 16);
static_assert(offsetof(PJRT_Executable_OptimizedProgram_Args, program) == 24);
static_assert(sizeof(PJRT_LoadedExecutable_Delete_Args) == 24 &&
              kStructSize<PJRT_LoadedExecutable_Delete_Args> == 24);
static_assert(offsetof(PJRT_LoadedExecutable_Delete_Args, executable) == 16);
static_assert(sizeof(PJRT_LoadedExecutable_IsDeleted_Args) == 32 &&
              kStructSize<PJRT_LoadedExecutable_IsDeleted_Args> == 25);
static_assert(offsetof(PJRT_LoadedExecutable_IsDeleted_Args, executable) == 16);
static_assert(offsetof(PJRT_LoadedExecutable_IsDeleted_Args, is_deleted) == 24);
static_assert(sizeof(PJRT_Chunk) == 32 && kStructSize<PJRT_Chunk> == 32);
static_assert(offsetof(PJRT_Chunk, data) == 0);
static_assert(offsetof(PJRT_Chunk, size) == 8);
static_assert(offsetof(PJRT_Chunk, deleter) == 16);
static_assert(offsetof(PJRT_Chunk, deleter_arg) == 24);
static_assert(sizeof(PJRT_SendCallbackInfo) == 24 && kStructSize<PJRT_SendCallbackInfo> == 24);
static_assert(offsetof(PJRT_SendCallbackInfo, channel_id) == 0);
static_assert(offsetof(PJRT_SendCallbackInfo, user_arg) == 8);
static_assert(offsetof(PJRT_SendCallbackInfo, send_callback) == 16);
static_assert(sizeof(PJRT_RecvCallbackInfo) == 24 && kStructSize<PJRT_RecvCallbackInfo> == 24);
static_assert(offsetof(PJRT_RecvCallbackInfo, channel_id) == 0);
static_assert(offsetof(PJRT_RecvCallbackInfo, user_arg) == 8);
static_assert(offsetof(PJRT_RecvCallbackInfo, recv_callback) == 16);
static_assert(sizeof(PJRT_HloOutputCallbackInfo) == 32 &&
              kStructSize<PJRT_HloOutputCallbackInfo> == 32);
static_assert(offsetof(PJRT_HloOutputCallbackInfo, user_arg) == 0);
static_assert(offsetof(PJRT_HloOutputCallbackInfo, callback) == 8);
static_assert(offsetof(PJRT_HloOutputCallbackInfo, callback_id) == 16);
static_assert(offsetof(PJRT_HloOutputCallbackInfo, num_operands) == 24);
static_assert(sizeof(PJRT_ExecuteOptions) == 144 && kStructSize<PJRT_ExecuteOptions> == 144);
static_assert(offsetof(PJRT_ExecuteOptions, send_callbacks) == 16);
static_assert(offsetof(PJRT_ExecuteOptions, recv_callbacks) == 24);
static_assert(offsetof(PJRT_ExecuteOptions, num_send_ops) == 32);
static_assert(offsetof(PJRT_ExecuteOptions, num_recv_ops) == 40);
static_assert(offsetof(PJRT_ExecuteOptions, launch_id) == 48);
static_assert(offsetof(PJRT_ExecuteOptions, non_donatable_input_indices) == 56);
static_assert(offsetof(PJRT_ExecuteOptions, num_non_donatable_input_indices) == 64);
static_assert(offsetof(PJRT_ExecuteOptions, context) == 72);
static_assert(offsetof(PJRT_ExecuteOptions, call_location) == 80);
static_assert(offsetof(PJRT_ExecuteOptions, num_tasks) == 88);
static_assert(offsetof(PJRT_ExecuteOptions, task_ids) == 96);
static_assert(offsetof(PJRT_ExecuteOptions, incarnation_ids) == 104);
static_assert(offsetof(PJRT_ExecuteOptions, multi_slice_config) == 112);
static_assert(offsetof(PJRT_ExecuteOptions, use_major_to_minor_data_layout_for_callbacks) == 120);
static_assert(offsetof(PJRT_ExecuteOptions, hlo_output_callbacks) == 128);
static_assert(offsetof(PJRT_ExecuteOptions, num_hlo_output_callbacks) == 136);
static_assert(sizeof(PJRT_LoadedExecutable_Execute_Args) == 80 &&
              kStructSize<PJRT_LoadedExecutable_Execute_Args> == 80);
static_assert(offsetof(PJRT_LoadedExecutable_Execute_Args, executable) == 16);
static_assert(offsetof(PJRT_LoadedExecutable_Execute_Args, options) == 24);
static_assert(offsetof(PJRT_LoadedExecutable_Execute_Args, argument_lists) == 32);
static_assert(offsetof(PJRT_LoadedExecutable_Execute_Args, num_devices) == 40);
static_assert(offsetof(PJRT_LoadedExecutable_Execute_Args, num_args) == 48);
static_assert(offsetof(PJRT_LoadedExecutable_Execute_Args, output_lists) == 56);
static_assert(offsetof(PJRT_LoadedExecutable_Execute_Args, device_complete_events) == 64);
static_assert(offsetof(PJRT_LoadedExecutable_Execute_Args, execute_device) == 72);
static_assert(sizeof(PJRT_Executable_NumOutputs_Args) == 32 &&
              kStructSize<PJRT_Executable_NumOutputs_Args> == 32);
static_assert(offsetof(PJRT_Executable_NumOutputs_Args, executable) == 16);
static_assert(offsetof(PJRT_Executable_NumOutputs_Args, num_outputs) == 24);
static_assert(sizeof(PJRT_Executable_SizeOfGeneratedCodeInBytes_Args) == 32 &&
              kStructSize<PJRT_Executable_SizeOfGeneratedCodeInBytes_Args> == 32);
static_assert(offsetof(PJRT_Executable_SizeOfGeneratedCodeInBytes_Args, executable) == 16);
static_assert(offsetof(PJRT_Executable_SizeOfGeneratedCodeInBytes_Args, size_in_bytes) == 24);
static_assert(sizeof(PJRT_Executable_Fingerprint_Args) == 40 &&
              kStructSize<PJRT_Executable_Fingerprint_Args> == 40);
static_assert(offsetof(PJRT_Executable_Fingerprint_Args, executable) == 16);
static_assert(offsetof(PJRT_Executable_Fingerprint_Args, executable_fingerprint) == 24);
static_assert(offsetof(PJRT_Executable_Fingerprint_Args, executable_fingerprint_size) == 32);
static_assert(sizeof(PJRT_Executable_GetCostAnalysis_Args) == 40 &&
              kStructSize<PJRT_Executable_GetCostAnalysis_Args> == 40);
static_assert(offsetof(PJRT_Executable_GetCostAnalysis_Args, executable) == 16);
static_assert(offsetof(PJRT_Executable_GetCostAnalysis_Args, num_properties) == 24);
static_assert(offsetof(PJRT_Executable_GetCostAnalysis_Args, properties) == 32);
static_assert(sizeof(PJRT_Executable_GetCompiledMemoryStats_Args) == 144 &&
              kStructSize<PJRT_Executable_GetCompiledMemoryStats_Args> == 144);
static_assert(offsetof(PJRT_Executable_GetCompiledMemoryStats_Args, executable) == 16);
static_assert(offsetof(PJRT_Executable_GetCompiledMemoryStats_Args, generated_code_size_in_bytes) ==
              24);
static_assert(offsetof(PJRT_Executable_GetCompiledMemoryStats_Args, argument_size_in_bytes) == 32);
static_assert(offsetof(PJRT_Executable_GetCompiledMemoryStats_Args, output_size_in_bytes) == 40);
static_assert(offsetof(PJRT_Executable_GetCompiledMemoryStats_Args, alias_size_in_bytes) == 48);
static_assert(offsetof(PJRT_Executable_GetCompiledMemoryStats_Args, temp_size_in_bytes) == 56);
static_assert(offsetof(PJRT_Executable_GetCompiledMemoryStats_Args,
                       host_generated_code_size_in_bytes) == 64);
static_assert(offsetof(PJRT_Executable_GetCompiledMemoryStats_Args, host_argument_size_in_bytes) ==
              72);
static_assert(offsetof(PJRT_Executable_GetCompiledMemoryStats_Args, host_output_size_in_bytes) ==
              80);
static_assert(offsetof(PJRT_Executable_GetCompiledMemoryStats_Args, host_alias_size_in_bytes) ==
              88);
static_assert(offsetof(PJRT_Executable_GetCompiledMemoryStats_Args, host_temp_size_in_bytes) == 96);
static_assert(offsetof(PJRT_Executable_GetCompiledMemoryStats_Args, peak_memory_in_bytes) == 104);
static_assert(offsetof(PJRT_Executable_GetCompiledMemoryStats_Args, total_size_in_bytes) == 112);
static_assert(offsetof(PJRT_Executable_GetCompiledMemoryStats_Args, total_allocation_bytes) == 120);
static_assert(offsetof(PJRT_Executable_GetCompiledMemoryStats_Args, indefinite_allocations) == 128);
static_assert(offsetof(PJRT_Executable_GetCompiledMemoryStats_Args, peak_unpadded_heap_bytes) ==
              136);
static_assert(sizeof(PJRT_Executable_OutputElementTypes_Args) == 40 &&
              kStructSize<PJRT_Executable_OutputElementTypes_Args> == 40);
static_assert(offsetof(PJRT_Executable_OutputElementTypes_Args, executable) == 16);
static_assert(offsetof(PJRT_Executable_OutputElementTypes_Args, output_types) == 24);
static_assert(offsetof(PJRT_Executable_OutputElementTypes_Args, num_output_types) == 32);
static_assert(sizeof(PJRT_Executable_OutputDimensions_Args) == 48 &&
              kStructSize<PJRT_Executable_OutputDimensions_Args> == 48);
static_assert(offsetof(PJRT_Executable_OutputDimensions_Args, executable) == 16);
static_assert(offsetof(PJRT_Executable_OutputDimensions_Args, num_outputs) == 24);
static_assert(offsetof(PJRT_Executable_OutputDimensions_Args, dims) == 32);
static_assert(offsetof(PJRT_Executable_OutputDimensions_Args, dim_sizes) == 40);
static_assert(sizeof(PJRT_Executable_ParameterMemoryKinds_Args) == 48 &&
              kStructSize<PJRT_Executable_ParameterMemoryKinds_Args> == 48);
static_assert(offsetof(PJRT_Executable_ParameterMemoryKinds_Args, executable) == 16);
static_assert(offsetof(PJRT_Executable_ParameterMemoryKinds_Args, num_parameters) == 24);
static_assert(offsetof(PJRT_Executable_ParameterMemoryKinds_Args, memory_kinds) == 32);
static_assert(offsetof(PJRT_Executable_ParameterMemoryKinds_Args, memory_kind_sizes) == 40);
static_assert(sizeof(PJRT_Executable_OutputMemoryKinds_Args) == 48 &&
              kStructSize<PJRT_Executable_OutputMemoryKinds_Args> == 48);
static_assert(offsetof(PJRT_Executable_OutputMemoryKinds_Args, executable) == 16);
static_assert(offsetof(PJRT_Executable_OutputMemoryKinds_Args, num_outputs) == 24);
static_assert(offsetof(PJRT_Executable_OutputMemoryKinds_Args, memory_kinds) == 32);
static_assert(offsetof(PJRT_Executable_OutputMemoryKinds_Args, memory_kind_sizes) == 40);
static_assert(sizeof(PJRT_Executable_Serialize_Args) == 56 &&
              kStructSize<PJRT_Executable_Serialize_Args> == 56);
static_assert(offsetof(PJRT_Executable_Serialize_Args, executable) == 16);
static_assert(offsetof(PJRT_Executable_Serialize_Args, serialized_bytes) == 24);
static_assert(offsetof(PJRT_Executable_Serialize_Args, serialized_bytes_size) == 32);
static_assert(offsetof(PJRT_Executable_Serialize_Args, serialized_executable) == 40);
static_assert(offsetof(PJRT_Executable_Serialize_Args, serialized_executable_deleter) == 48);
static_assert(sizeof(PJRT_Executable_GetCompileOptions_Args) == 56 &&
              kStructSize<PJRT_Executable_GetCompileOptions_Args> == 56);
static_assert(offsetof(PJRT_Executable_GetCompileOptions_Args, executable) == 16);
static_assert(offsetof(PJRT_Executable_GetCompileOptions_Args, serialized_bytes) == 24);
static_assert(offsetof(PJRT_Executable_GetCompileOptions_Args, serialized_bytes_size) == 32);
static_assert(offsetof(PJRT_Executable_GetCompileOptions_Args, serialized_compile_options) == 40);
static_assert(offsetof(PJRT_Executable_GetCompileOptions_Args,
                       serialized_compile_options_deleter) == 48);
static_assert(sizeof(PJRT_LoadOptions) == 32 && kStructSize<PJRT_LoadOptions> == 32);
static_assert(offsetof(PJRT_LoadOptions, computation_origin) == 8);
static_assert(offsetof(PJRT_LoadOptions, computation_origin_size) == 16);
static_assert(offsetof(PJRT_LoadOptions, multi_slice_config) == 24);
static_assert(sizeof(PJRT_Executable_DeserializeAndLoad_Args) == 72 &&
              kStructSize<PJRT_Executable_DeserializeAndLoad_Args> == 72);
static_assert(offsetof(PJRT_Executable_DeserializeAndLoad_Args, client) == 16);
static_assert(offsetof(PJRT_Executable_DeserializeAndLoad_Args, serialized_executable) == 24);
static_assert(offsetof(PJRT_Executable_DeserializeAndLoad_Args, serialized_executable_size) == 32);
static_assert(offsetof(PJRT_Executable_DeserializeAndLoad_Args, loaded_executable) == 40);
static_assert(offsetof(PJRT_Executable_DeserializeAndLoad_Args,
                       overridden_serialized_compile_options) == 48);
static_assert(offsetof(PJRT_Executable_DeserializeAndLoad_Args,
                       overridden_serialized_compile_options_size) == 56);
static_assert(offsetof(PJRT_Executable_DeserializeAndLoad_Args, load_options) == 64);
static_assert(sizeof(PJRT_LoadedExecutable_Fingerprint_Args) == 40 &&
              kStructSize<PJRT_LoadedExecutable_Fingerprint_Args> == 40);
static_assert(offsetof(PJRT_LoadedExecutable_Fingerprint_Args, executable) == 16);
static_assert(offsetof(PJRT_LoadedExecutable_Fingerprint_Args, executable_fingerprint) == 24);
static_assert(offsetof(PJRT_LoadedExecutable_Fingerprint_Args, executable_fingerprint_size) == 32);
static_assert(sizeof(PJRT_Buffer_Destroy_Args) == 24 &&
              kStructSize<PJRT_Buffer_Destroy_Args> == 24);
static_assert(offsetof(PJRT_Buffer_Destroy_Args, buffer) == 16);
static_assert(sizeof(PJRT_Buffer_ElementType_Args) == 32 &&
              kStructSize<PJRT_Buffer_ElementType_Args> == 28);
static_assert(offsetof(PJRT_Buffer_ElementType_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_ElementType_Args, type) == 24);
static_assert(sizeof(PJRT_Buffer_Dimensions_Args) == 40 &&
              kStructSize<PJRT_Buffer_Dimensions_Args> == 40);
static_assert(offsetof(PJRT_Buffer_Dimensions_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_Dimensions_Args, dims) == 24);
static_assert(offsetof(PJRT_Buffer_Dimensions_Args, num_dims) == 32);
static_assert(sizeof(PJRT_Buffer_UnpaddedDimensions_Args) == 40 &&
              kStructSize<PJRT_Buffer_UnpaddedDimensions_Args> == 40);
static_assert(offsetof(PJRT_Buffer_UnpaddedDimensions_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_UnpaddedDimensions_Args, unpadded_dims) == 24);
static_assert(offsetof(PJRT_Buffer_UnpaddedDimensions_Args, num_dims) == 32);
static_assert(sizeof(PJRT_Buffer_DynamicDimensionIndices_Args) == 40 &&
              kStructSize<PJRT_Buffer_DynamicDimensionIndices_Args> == 40);
static_assert(offsetof(PJRT_Buffer_DynamicDimensionIndices_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_DynamicDimensionIndices_Args, dynamic_dim_indices) == 24);
static_assert(offsetof(PJRT_Buffer_DynamicDimensionIndices_Args, num_dynamic_dims) == 32);
static_assert(sizeof(PJRT_Buffer_GetMemoryLayout_Args) == 104 &&
              kStructSize<PJRT_Buffer_GetMemoryLayout_Args> == 104);
static_assert(offsetof(PJRT_Buffer_GetMemoryLayout_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_GetMemoryLayout_Args, layout) == 24);
static_assert(sizeof(PJRT_Buffer_ToHostBuffer_Args) == 56 &&
              kStructSize<PJRT_Buffer_ToHostBuffer_Args> == 56);
static_assert(offsetof(PJRT_Buffer_ToHostBuffer_Args, src) == 16);
static_assert(offsetof(PJRT_Buffer_ToHostBuffer_Args, host_layout) == 24);
static_assert(offsetof(PJRT_Buffer_ToHostBuffer_Args, dst) == 32);
static_assert(offsetof(PJRT_Buffer_ToHostBuffer_Args, dst_size) == 40);
static_assert(offsetof(PJRT_Buffer_ToHostBuffer_Args, event) == 48);
static_assert(sizeof(PJRT_Buffer_OnDeviceSizeInBytes_Args) == 32 &&
              kStructSize<PJRT_Buffer_OnDeviceSizeInBytes_Args> == 32);
static_assert(offsetof(PJRT_Buffer_OnDeviceSizeInBytes_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_OnDeviceSizeInBytes_Args, on_device_size_in_bytes) == 24);
static_assert(sizeof(PJRT_Buffer_Delete_Args) == 24 && kStructSize<PJRT_Buffer_Delete_Args> == 24);
static_assert(offsetof(PJRT_Buffer_Delete_Args, buffer) == 16);
static_assert(sizeof(PJRT_Buffer_IsDeleted_Args) == 32 &&
              kStructSize<PJRT_Buffer_IsDeleted_Args> == 25);
static_assert(offsetof(PJRT_Buffer_IsDeleted_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_IsDeleted_Args, is_deleted) == 24);
static_assert(sizeof(PJRT_Buffer_CopyRawToHost_Args) == 56 &&
              kStructSize<PJRT_Buffer_CopyRawToHost_Args> == 56);
static_assert(offsetof(PJRT_Buffer_CopyRawToHost_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_CopyRawToHost_Args, dst) == 24);
static_assert(offsetof(PJRT_Buffer_CopyRawToHost_Args, offset) == 32);
static_assert(offsetof(PJRT_Buffer_CopyRawToHost_Args, transfer_size) == 40);
static_assert(offsetof(PJRT_Buffer_CopyRawToHost_Args, event) == 48);
static_assert(sizeof(PJRT_Buffer_CopyRawToHostFuture_Callback_Args) == 48 &&
              kStructSize<PJRT_Buffer_CopyRawToHostFuture_Callback_Args> == 48);
static_assert(offsetof(PJRT_Buffer_CopyRawToHostFuture_Callback_Args, callback_data) == 8);
static_assert(offsetof(PJRT_Buffer_CopyRawToHostFuture_Callback_Args, error_code) == 16);
static_assert(offsetof(PJRT_Buffer_CopyRawToHostFuture_Callback_Args, error_message) == 24);
static_assert(offsetof(PJRT_Buffer_CopyRawToHostFuture_Callback_Args, error_message_size) == 32);
static_assert(offsetof(PJRT_Buffer_CopyRawToHostFuture_Callback_Args, dst) == 40);
static_assert(sizeof(PJRT_Buffer_CopyRawToHostFuture_Args) == 64 &&
              kStructSize<PJRT_Buffer_CopyRawToHostFuture_Args> == 64);
static_assert(offsetof(PJRT_Buffer_CopyRawToHostFuture_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_CopyRawToHostFuture_Args, offset) == 24);
static_assert(offsetof(PJRT_Buffer_CopyRawToHostFuture_Args, transfer_size) == 32);
static_assert(offsetof(PJRT_Buffer_CopyRawToHostFuture_Args, event) == 40);
static_assert(offsetof(PJRT_Buffer_CopyRawToHostFuture_Args, callback_data) == 48);
static_assert(offsetof(PJRT_Buffer_CopyRawToHostFuture_Args, future_ready_callback) == 56);
static_assert(sizeof(PJRT_Buffer_CopyToDevice_Args) == 40 &&
              kStructSize<PJRT_Buffer_CopyToDevice_Args> == 40);
static_assert(offsetof(PJRT_Buffer_CopyToDevice_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_CopyToDevice_Args, dst_device) == 24);
static_assert(offsetof(PJRT_Buffer_CopyToDevice_Args, dst_buffer) == 32);
static_assert(sizeof(PJRT_Buffer_CopyToMemory_Args) == 40 &&
              kStructSize<PJRT_Buffer_CopyToMemory_Args> == 40);
static_assert(offsetof(PJRT_Buffer_CopyToMemory_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_CopyToMemory_Args, dst_memory) == 24);
static_assert(offsetof(PJRT_Buffer_CopyToMemory_Args, dst_buffer) == 32);
static_assert(sizeof(PJRT_Buffer_Bitcast_Args) == 64 &&
              kStructSize<PJRT_Buffer_Bitcast_Args> == 64);
static_assert(offsetof(PJRT_Buffer_Bitcast_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_Bitcast_Args, element_type) == 24);
static_assert(offsetof(PJRT_Buffer_Bitcast_Args, dims) == 32);
static_assert(offsetof(PJRT_Buffer_Bitcast_Args, num_dims) == 40);
static_assert(offsetof(PJRT_Buffer_Bitcast_Args, device_layout) == 48);
static_assert(offsetof(PJRT_Buffer_Bitcast_Args, out_buffer) == 56);
static_assert(sizeof(PJRT_Buffer_IsOnCpu_Args) == 32 &&
              kStructSize<PJRT_Buffer_IsOnCpu_Args> == 25);
static_assert(offsetof(PJRT_Buffer_IsOnCpu_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_IsOnCpu_Args, is_on_cpu) == 24);
static_assert(sizeof(PJRT_Buffer_Device_Args) == 32 && kStructSize<PJRT_Buffer_Device_Args> == 32);
static_assert(offsetof(PJRT_Buffer_Device_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_Device_Args, device) == 24);
static_assert(sizeof(PJRT_Buffer_Memory_Args) == 32 && kStructSize<PJRT_Buffer_Memory_Args> == 32);
static_assert(offsetof(PJRT_Buffer_Memory_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_Memory_Args, memory) == 24);
static_assert(sizeof(PJRT_Buffer_ReadyEvent_Args) == 32 &&
              kStructSize<PJRT_Buffer_ReadyEvent_Args> == 32);
static_assert(offsetof(PJRT_Buffer_ReadyEvent_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_ReadyEvent_Args, event) == 24);
static_assert(sizeof(PJRT_Buffer_UnsafePointer_Args) == 32 &&
              kStructSize<PJRT_Buffer_UnsafePointer_Args> == 32);
static_assert(offsetof(PJRT_Buffer_UnsafePointer_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_UnsafePointer_Args, buffer_pointer) == 24);
static_assert(sizeof(PJRT_Buffer_IncreaseExternalReferenceCount_Args) == 24 &&
              kStructSize<PJRT_Buffer_IncreaseExternalReferenceCount_Args> == 24);
static_assert(offsetof(PJRT_Buffer_IncreaseExternalReferenceCount_Args, buffer) == 16);
static_assert(sizeof(PJRT_Buffer_DecreaseExternalReferenceCount_Args) == 24 &&
              kStructSize<PJRT_Buffer_DecreaseExternalReferenceCount_Args> == 24);
static_assert(offsetof(PJRT_Buffer_DecreaseExternalReferenceCount_Args, buffer) == 16);
static_assert(sizeof(PJRT_Buffer_OpaqueDeviceMemoryDataPointer_Args) == 32 &&
              kStructSize<PJRT_Buffer_OpaqueDeviceMemoryDataPointer_Args> == 32);
static_assert(offsetof(PJRT_Buffer_OpaqueDeviceMemoryDataPointer_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_OpaqueDeviceMemoryDataPointer_Args, device_memory_ptr) == 24);
static_assert(sizeof(PJRT_Buffer_DonateWithControlDependency_Callback_Args) == 40 &&
              kStructSize<PJRT_Buffer_DonateWithControlDependency_Callback_Args> == 40);
static_assert(offsetof(PJRT_Buffer_DonateWithControlDependency_Callback_Args, callback_data) == 8);
static_assert(offsetof(PJRT_Buffer_DonateWithControlDependency_Callback_Args, error_code) == 16);
static_assert(offsetof(PJRT_Buffer_DonateWithControlDependency_Callback_Args, error_message) == 24);
static_assert(offsetof(PJRT_Buffer_DonateWithControlDependency_Callback_Args, error_message_size) ==
              32);
static_assert(sizeof(PJRT_Buffer_DonateWithControlDependency_Args) == 48 &&
              kStructSize<PJRT_Buffer_DonateWithControlDependency_Args> == 48);
static_assert(offsetof(PJRT_Buffer_DonateWithControlDependency_Args, buffer) == 16);
static_assert(offsetof(PJRT_Buffer_DonateWithControlDependency_Args, callback_data) == 24);
static_assert(offsetof(PJRT_Buffer_DonateWithControlDependency_Args, dependency_ready_callback) ==
              32);
static_assert(offsetof(PJRT_Buffer_DonateWithControlDependency_Args, out_buffer) == 40);
static_assert(sizeof(PJRT_CopyToDeviceStream_Destroy_Args) == 24 &&
              kStructSize<PJRT_CopyToDeviceStream_Destroy_Args> == 24);
static_assert(offsetof(PJRT_CopyToDeviceStream_Destroy_Args, stream) == 16);
static_assert(sizeof(PJRT_CopyToDeviceStream_AddChunk_Args) == 40 &&
              kStructSize<PJRT_CopyToDeviceStream_AddChunk_Args> == 40);
static_assert(offsetof(PJRT_CopyToDeviceStream_AddChunk_Args, stream) == 16);
static_assert(offsetof(PJRT_CopyToDeviceStream_AddChunk_Args, chunk) == 24);
static_assert(offsetof(PJRT_CopyToDeviceStream_AddChunk_Args, transfer_complete) == 32);
static_assert(sizeof(PJRT_CopyToDeviceStream_TotalBytes_Args) == 32 &&
              kStructSize<PJRT_CopyToDeviceStream_TotalBytes_Args> == 32);
static_assert(offsetof(PJRT_CopyToDeviceStream_TotalBytes_Args, stream) == 16);
static_assert(offsetof(PJRT_CopyToDeviceStream_TotalBytes_Args, total_bytes) == 24);
static_assert(sizeof(PJRT_CopyToDeviceStream_GranuleSize_Args) == 32 &&
              kStructSize<PJRT_CopyToDeviceStream_GranuleSize_Args> == 32);
static_assert(offsetof(PJRT_CopyToDeviceStream_GranuleSize_Args, stream) == 16);
static_assert(offsetof(PJRT_CopyToDeviceStream_GranuleSize_Args, granule_size_in_bytes) == 24);
static_assert(sizeof(PJRT_CopyToDeviceStream_CurrentBytes_Args) == 32 &&
              kStructSize<PJRT_CopyToDeviceStream_CurrentBytes_Args> == 32);
static_assert(offsetof(PJRT_CopyToDeviceStream_CurrentBytes_Args, stream) == 16);
static_assert(offsetof(PJRT_CopyToDeviceStream_CurrentBytes_Args, current_bytes) == 24);
static_assert(sizeof(PJRT_TopologyDescription_Create_Args) == 56 &&
              kStructSize<PJRT_TopologyDescription_Create_Args> == 56);
static_assert(offsetof(PJRT_TopologyDescription_Create_Args, topology_name) == 16);
static_assert(offsetof(PJRT_TopologyDescription_Create_Args, topology_name_size) == 24);
static_assert(offsetof(PJRT_TopologyDescription_Create_Args, create_options) == 32);
static_assert(offsetof(PJRT_TopologyDescription_Create_Args, num_options) == 40);
static_assert(offsetof(PJRT_TopologyDescription_Create_Args, topology) == 48);
static_assert(sizeof(PJRT_TopologyDescription_Destroy_Args) == 24 &&
              kStructSize<PJRT_TopologyDescription_Destroy_Args> == 24);
static_assert(offsetof(PJRT_TopologyDescription_Destroy_Args, topology) == 16);
static_assert(sizeof(PJRT_TopologyDescription_PlatformVersion_Args) == 40 &&
              kStructSize<PJRT_TopologyDescription_PlatformVersion_Args> == 40);
static_assert(offsetof(PJRT_TopologyDescription_PlatformVersion_Args, topology) == 16);
static_assert(offsetof(PJRT_TopologyDescription_PlatformVersion_Args, platform_version) == 24);
static_assert(offsetof(PJRT_TopologyDescription_PlatformVersion_Args, platform_version_size) == 32);
static_assert(sizeof(PJRT_TopologyDescription_PlatformName_Args) == 40 &&
              kStructSize<PJRT_TopologyDescription_PlatformName_Args> == 40);
static_assert(offsetof(PJRT_TopologyDescription_PlatformName_Args, topology) == 16);
static_assert(offsetof(PJRT_TopologyDescription_PlatformName_Args, platform_name) == 24);
static_assert(offsetof(PJRT_TopologyDescription_PlatformName_Args, platform_name_size) == 32);
static_assert(sizeof(PJRT_TopologyDescription_GetDeviceDescriptions_Args) == 40 &&
              kStructSize<PJRT_TopologyDescription_GetDeviceDescriptions_Args> == 40);
static_assert(offsetof(PJRT_TopologyDescription_GetDeviceDescriptions_Args, topology) == 16);
static_assert(offsetof(PJRT_TopologyDescription_GetDeviceDescriptions_Args, descriptions) == 24);
static_assert(offsetof(PJRT_TopologyDescription_GetDeviceDescriptions_Args, num_descriptions) ==
              32);
static_assert(sizeof(PJRT_TopologyDescription_Serialize_Args) == 56 &&
              kStructSize<PJRT_TopologyDescription_Serialize_Args> == 56);
static_assert(offsetof(PJRT_TopologyDescription_Serialize_Args, topology) == 16);
static_assert(offsetof(PJRT_TopologyDescription_Serialize_Args, serialized_bytes) == 24);
static_assert(offsetof(PJRT_TopologyDescription_Serialize_Args, serialized_bytes_size) == 32);
static_assert(offsetof(PJRT_TopologyDescription_Serialize_Args, serialized_topology) == 40);
static_assert(offsetof(PJRT_TopologyDescription_Serialize_Args, serialized_topology_deleter) == 48);
static_assert(sizeof(PJRT_TopologyDescription_Deserialize_Args) == 40 &&
              kStructSize<PJRT_TopologyDescription_Deserialize_Args> == 40);
static_assert(offsetof(PJRT_TopologyDescription_Deserialize_Args, serialized_topology) == 16);
static_assert(offsetof(PJRT_TopologyDescription_Deserialize_Args, serialized_topology_size) == 24);
static_assert(offsetof(PJRT_TopologyDescription_Deserialize_Args, topology) == 32);
static_assert(sizeof(PJRT_TopologyDescription_Attributes_Args) == 40 &&
              kStructSize<PJRT_TopologyDescription_Attributes_Args> == 40);
static_assert(offsetof(PJRT_TopologyDescription_Attributes_Args, topology) == 16);
static_assert(offsetof(PJRT_TopologyDescription_Attributes_Args, attributes) == 24);
static_assert(offsetof(PJRT_TopologyDescription_Attributes_Args, num_attributes) == 32);
static_assert(sizeof(PJRT_TopologyDescription_Fingerprint_Args) == 32 &&
              kStructSize<PJRT_TopologyDescription_Fingerprint_Args> == 32);
static_assert(offsetof(PJRT_TopologyDescription_Fingerprint_Args, topology) == 16);
static_assert(offsetof(PJRT_TopologyDescription_Fingerprint_Args, fingerprint) == 24);
static_assert(sizeof(PJRT_TopologyDescription_MakeCanonicalShapeForMemorySpace_Args) == 88 &&
              kStructSize<PJRT_TopologyDescription_MakeCanonicalShapeForMemorySpace_Args> == 88);
static_assert(offsetof(PJRT_TopologyDescription_MakeCanonicalShapeForMemorySpace_Args, topology) ==
              16);
static_assert(offsetof(PJRT_TopologyDescription_MakeCanonicalShapeForMemorySpace_Args,
                       memory_space_kind_id) == 24);
static_assert(offsetof(PJRT_TopologyDescription_MakeCanonicalShapeForMemorySpace_Args, dims) == 32);
static_assert(offsetof(PJRT_TopologyDescription_MakeCanonicalShapeForMemorySpace_Args, num_dims) ==
              40);
static_assert(offsetof(PJRT_TopologyDescription_MakeCanonicalShapeForMemorySpace_Args,
                       element_type) == 48);
static_assert(offsetof(PJRT_TopologyDescription_MakeCanonicalShapeForMemorySpace_Args, layout) ==
              56);
static_assert(offsetof(PJRT_TopologyDescription_MakeCanonicalShapeForMemorySpace_Args,
                       serialized_shape) == 64);
static_assert(offsetof(PJRT_TopologyDescription_MakeCanonicalShapeForMemorySpace_Args,
                       serialized_shape_size) == 72);
static_assert(offsetof(PJRT_TopologyDescription_MakeCanonicalShapeForMemorySpace_Args,
                       serialized_shape_deleter) == 80);
static_assert(sizeof(PJRT_TopologyDescription_GetMemorySpaceKindIds_Args) == 40 &&
              kStructSize<PJRT_TopologyDescription_GetMemorySpaceKindIds_Args> == 40);
static_assert(offsetof(PJRT_TopologyDescription_GetMemorySpaceKindIds_Args, topology) == 16);
static_assert(offsetof(PJRT_TopologyDescription_GetMemorySpaceKindIds_Args,
                       memory_space_kind_ids) == 24);
static_assert(offsetof(PJRT_TopologyDescription_GetMemorySpaceKindIds_Args,
                       num_memory_space_kind_ids) == 32);
static_assert(sizeof(PJRT_Compile_Args) == 64 && kStructSize<PJRT_Compile_Args> == 64);
static_assert(offsetof(PJRT_Compile_Args, topology) == 16);
static_assert(offsetof(PJRT_Compile_Args, program) == 24);
static_assert(offsetof(PJRT_Compile_Args, compile_options) == 32);
static_assert(offsetof(PJRT_Compile_Args, compile_options_size) == 40);
static_assert(offsetof(PJRT_Compile_Args, client) == 48);
static_assert(offsetof(PJRT_Compile_Args, executable) == 56);
static_assert(sizeof(PLUGIN_Profiler_Error_Destroy_Args) == 24);
static_assert(offsetof(PLUGIN_Profiler_Error_Destroy_Args, priv) == 8);
static_assert(offsetof(PLUGIN_Profiler_Error_Destroy_Args, error) == 16);
static_assert(sizeof(PLUGIN_Profiler_Error_Message_Args) == 40);
static_assert(offsetof(PLUGIN_Profiler_Error_Message_Args, priv) == 8);
static_assert(offsetof(PLUGIN_Profiler_Error_Message_Args, error) == 16);
static_assert(offsetof(PLUGIN_Profiler_Error_Message_Args, message) == 24);
static_assert(offsetof(PLUGIN_Profiler_Error_Message_Args, message_size) == 32);
static_assert(sizeof(PLUGIN_Profiler_Error_GetCode_Args) == 32);
static_assert(offsetof(PLUGIN_Profiler_Error_GetCode_Args, priv) == 8);
static_assert(offsetof(PLUGIN_Profiler_Error_GetCode_Args, error) == 16);
static_assert(offsetof(PLUGIN_Profiler_Error_GetCode_Args, code) == 24);
static_assert(sizeof(PLUGIN_Profiler_Create_Args) == 32);
static_assert(offsetof(PLUGIN_Profiler_Create_Args, options) == 8);
static_assert(offsetof(PLUGIN_Profiler_Create_Args, options_size) == 16);
static_assert(offsetof(PLUGIN_Profiler_Create_Args, profiler) == 24);
static_assert(sizeof(PLUGIN_Profiler_Destroy_Args) == 16);
static_assert(offsetof(PLUGIN_Profiler_Destroy_Args, profiler) == 8);
static_assert(sizeof(PLUGIN_Profiler_Start_Args) == 16);
static_assert(offsetof(PLUGIN_Profiler_Start_Args, profiler) == 8);
static_assert(sizeof(PLUGIN_Profiler_Stop_Args) == 16);
static_assert(offsetof(PLUGIN_Profiler_Stop_Args, profiler) == 8);
static_assert(sizeof(PLUGIN_Profiler_CollectData_Args) == 32);
static_assert(offsetof(PLUGIN_Profiler_CollectData_Args, profiler) == 8);
static_assert(offsetof(PLUGIN_Profiler_CollectData_Args, buffer) == 16);
static_assert(offsetof(PLUGIN_Profiler_CollectData_Args, buffer_size_in_bytes) == 24);
static_assert(sizeof(PLUGIN_Profiler_Api) == 80);
static_assert(offsetof(PLUGIN_Profiler_Api, priv) == 8);
static_assert(offsetof(PLUGIN_Profiler_Api, error_destroy) == 16);
static_assert(offsetof(PLUGIN_Profiler_Api, error_message) == 24);
static_assert(offsetof(PLUGIN_Profiler_Api, error_get_code) == 32);
static_assert(offsetof(PLUGIN_Profiler_Api, create) == 40);
static_assert(offsetof(PLUGIN_Profiler_Api, destroy) == 48);
static_assert(offsetof(PLUGIN_Profiler_Api, start) == 56);
static_assert(offsetof(PLUGIN_Profiler_Api, stop) == 64);
static_assert(offsetof(PLUGIN_Profiler_Api, collect_data) == 72);
static_assert(sizeof(PJRT_Profiler_Extension) == 40);
static_assert(offsetof(PJRT_Profiler_Extension, base) == 0);
static_assert(offsetof(PJRT_Profiler_Extension, profiler_api) == 24);
static_assert(offsetof(PJRT_Profiler_Extension, traceme_context_id) == 32);
static_assert(sizeof(PJRT_Layouts_MemoryLayout_Destroy_Args) == 24 &&
              kStructSize<PJRT_Layouts_MemoryLayout_Destroy_Args> == 24);
static_assert(offsetof(PJRT_Layouts_MemoryLayout_Destroy_Args, layout) == 16);
static_assert(sizeof(PJRT_Layouts_MemoryLayout_Serialize_Args) == 56 &&
              kStructSize<PJRT_Layouts_MemoryLayout_Serialize_Args> == 56);
static_assert(offsetof(PJRT_Layouts_MemoryLayout_Serialize_Args, layout) == 16);
static_assert(offsetof(PJRT_Layouts_MemoryLayout_Serialize_Args, serialized_bytes) == 24);
static_assert(offsetof(PJRT_Layouts_MemoryLayout_Serialize_Args, serialized_bytes_size) == 32);
static_assert(offsetof(PJRT_Layouts_MemoryLayout_Serialize_Args, serialized_layout) == 40);
static_assert(offsetof(PJRT_Layouts_MemoryLayout_Serialize_Args, serialized_layout_deleter) == 48);
static_assert(sizeof(PJRT_Layouts_PJRT_Buffer_MemoryLayout_Args) == 32 &&
              kStructSize<PJRT_Layouts_PJRT_Buffer_MemoryLayout_Args> == 32);
static_assert(offsetof(PJRT_Layouts_PJRT_Buffer_MemoryLayout_Args, buffer) == 16);
static_assert(offsetof(PJRT_Layouts_PJRT_Buffer_MemoryLayout_Args, layout) == 24);
static_assert(sizeof(PJRT_Layouts_PJRT_Client_GetDefaultLayout_Args) == 56 &&
              kStructSize<PJRT_Layouts_PJRT_Client_GetDefaultLayout_Args> == 56);
static_assert(offsetof(PJRT_Layouts_PJRT_Client_GetDefaultLayout_Args, client) == 16);
static_assert(offsetof(PJRT_Layouts_PJRT_Client_GetDefaultLayout_Args, type) == 24);
static_assert(offsetof(PJRT_Layouts_PJRT_Client_GetDefaultLayout_Args, dims) == 32);
static_assert(offsetof(PJRT_Layouts_PJRT_Client_GetDefaultLayout_Args, num_dims) == 40);
static_assert(offsetof(PJRT_Layouts_PJRT_Client_GetDefaultLayout_Args, layout) == 48);
static_assert(sizeof(PJRT_Layouts_PJRT_Topology_GetDefaultLayout_Args) == 56 &&
              kStructSize<PJRT_Layouts_PJRT_Topology_GetDefaultLayout_Args> == 56);
static_assert(offsetof(PJRT_Layouts_PJRT_Topology_GetDefaultLayout_Args, topology_description) ==
              16);
static_assert(offsetof(PJRT_Layouts_PJRT_Topology_GetDefaultLayout_Args, type) == 24);
static_assert(offsetof(PJRT_Layouts_PJRT_Topology_GetDefaultLayout_Args, dims) == 32);
static_assert(offsetof(PJRT_Layouts_PJRT_Topology_GetDefaultLayout_Args, num_dims) == 40);
static_assert(offsetof(PJRT_Layouts_PJRT_Topology_GetDefaultLayout_Args, layout) == 48);
static_assert(sizeof(PJRT_Layouts_PJRT_Executable_GetOutputLayouts_Args) == 40 &&
              kStructSize<PJRT_Layouts_PJRT_Executable_GetOutputLayouts_Args> == 40);
static_assert(offsetof(PJRT_Layouts_PJRT_Executable_GetOutputLayouts_Args, executable) == 16);
static_assert(offsetof(PJRT_Layouts_PJRT_Executable_GetOutputLayouts_Args, num_outputs) == 24);
static_assert(offsetof(PJRT_Layouts_PJRT_Executable_GetOutputLayouts_Args, layouts) == 32);
static_assert(sizeof(PJRT_Layouts_PJRT_Executable_GetParameterLayouts_Args) == 40 &&
              kStructSize<PJRT_Layouts_PJRT_Executable_GetParameterLayouts_Args> == 40);
static_assert(offsetof(PJRT_Layouts_PJRT_Executable_GetParameterLayouts_Args, executable) == 16);
static_assert(offsetof(PJRT_Layouts_PJRT_Executable_GetParameterLayouts_Args, num_parameters) ==
              24);
static_assert(offsetof(PJRT_Layouts_PJRT_Executable_GetParameterLayouts_Args, layouts) == 32);
static_assert(sizeof(PJRT_Layouts_Extension) == 80 && kStructSize<PJRT_Layouts_Extension> == 80);
static_assert(offsetof(PJRT_Layouts_Extension, base) == 0);
static_assert(offsetof(PJRT_Layouts_Extension, destroy) == 24);
static_assert(offsetof(PJRT_Layouts_Extension, serialize) == 32);
static_assert(offsetof(PJRT_Layouts_Extension, client_default) == 40);
static_assert(offsetof(PJRT_Layouts_Extension, buffer) == 48);
static_assert(offsetof(PJRT_Layouts_Extension, topology_default) == 56);
static_assert(offsetof(PJRT_Layouts_Extension, outputs) == 64);
static_assert(offsetof(PJRT_Layouts_Extension, parameters) == 72);
static_assert(sizeof(PJRT_Shardings_PJRT_Executable_ParameterShardings_Args) == 48 &&
              kStructSize<PJRT_Shardings_PJRT_Executable_ParameterShardings_Args> == 48);
static_assert(offsetof(PJRT_Shardings_PJRT_Executable_ParameterShardings_Args, executable) == 16);
static_assert(offsetof(PJRT_Shardings_PJRT_Executable_ParameterShardings_Args, num_parameters) ==
              24);
static_assert(offsetof(PJRT_Shardings_PJRT_Executable_ParameterShardings_Args, shardings) == 32);
static_assert(offsetof(PJRT_Shardings_PJRT_Executable_ParameterShardings_Args, sharding_sizes) ==
              40);
static_assert(sizeof(PJRT_Shardings_PJRT_Executable_OutputShardings_Args) == 48 &&
              kStructSize<PJRT_Shardings_PJRT_Executable_OutputShardings_Args> == 48);
static_assert(offsetof(PJRT_Shardings_PJRT_Executable_OutputShardings_Args, executable) == 16);
static_assert(offsetof(PJRT_Shardings_PJRT_Executable_OutputShardings_Args, num_outputs) == 24);
static_assert(offsetof(PJRT_Shardings_PJRT_Executable_OutputShardings_Args, shardings) == 32);
static_assert(offsetof(PJRT_Shardings_PJRT_Executable_OutputShardings_Args, sharding_sizes) == 40);
static_assert(sizeof(PJRT_Shardings_Extension) == 40 &&
              kStructSize<PJRT_Shardings_Extension> == 40);
static_assert(offsetof(PJRT_Shardings_Extension, base) == 0);
static_assert(offsetof(PJRT_Shardings_Extension, parameter_shardings) == 24);
static_assert(offsetof(PJRT_Shardings_Extension, output_shardings) == 32);
static_assert(sizeof(PJRT_Api) == 1144);
static_assert(offsetof(PJRT_Api, pjrt_api_version) == 16);
static_assert(offsetof(PJRT_Api, Error_Destroy) == 40);
static_assert(offsetof(PJRT_Api, Error_Message) == 48);
static_assert(offsetof(PJRT_Api, Error_GetCode) == 56);
static_assert(offsetof(PJRT_Api, Plugin_Initialize) == 64);
static_assert(offsetof(PJRT_Api, Plugin_Attributes) == 72);
static_assert(offsetof(PJRT_Api, Event_Destroy) == 80);
static_assert(offsetof(PJRT_Api, Event_IsReady) == 88);
static_assert(offsetof(PJRT_Api, Event_Error) == 96);
static_assert(offsetof(PJRT_Api, Event_Await) == 104);
static_assert(offsetof(PJRT_Api, Event_OnReady) == 112);
static_assert(offsetof(PJRT_Api, Client_Create) == 120);
static_assert(offsetof(PJRT_Api, Client_Destroy) == 128);
static_assert(offsetof(PJRT_Api, Client_PlatformName) == 136);
static_assert(offsetof(PJRT_Api, Client_ProcessIndex) == 144);
static_assert(offsetof(PJRT_Api, Client_PlatformVersion) == 152);
static_assert(offsetof(PJRT_Api, Client_Devices) == 160);
static_assert(offsetof(PJRT_Api, Client_AddressableDevices) == 168);
static_assert(offsetof(PJRT_Api, Client_LookupDevice) == 176);
static_assert(offsetof(PJRT_Api, Client_LookupAddressableDevice) == 184);
static_assert(offsetof(PJRT_Api, Client_AddressableMemories) == 192);
static_assert(offsetof(PJRT_Api, Client_Compile) == 200);
static_assert(offsetof(PJRT_Api, Client_DefaultDeviceAssignment) == 208);
static_assert(offsetof(PJRT_Api, Client_BufferFromHostBuffer) == 216);
static_assert(offsetof(PJRT_Api, DeviceDescription_Id) == 224);
static_assert(offsetof(PJRT_Api, DeviceDescription_ProcessIndex) == 232);
static_assert(offsetof(PJRT_Api, DeviceDescription_Attributes) == 240);
static_assert(offsetof(PJRT_Api, DeviceDescription_Kind) == 248);
static_assert(offsetof(PJRT_Api, DeviceDescription_DebugString) == 256);
static_assert(offsetof(PJRT_Api, DeviceDescription_ToString) == 264);
static_assert(offsetof(PJRT_Api, Device_GetDescription) == 272);
static_assert(offsetof(PJRT_Api, Device_IsAddressable) == 280);
static_assert(offsetof(PJRT_Api, Device_LocalHardwareId) == 288);
static_assert(offsetof(PJRT_Api, Device_AddressableMemories) == 296);
static_assert(offsetof(PJRT_Api, Device_DefaultMemory) == 304);
static_assert(offsetof(PJRT_Api, Device_MemoryStats) == 312);
static_assert(offsetof(PJRT_Api, Memory_Id) == 320);
static_assert(offsetof(PJRT_Api, Memory_Kind) == 328);
static_assert(offsetof(PJRT_Api, Memory_DebugString) == 336);
static_assert(offsetof(PJRT_Api, Memory_ToString) == 344);
static_assert(offsetof(PJRT_Api, Memory_AddressableByDevices) == 352);
static_assert(offsetof(PJRT_Api, Executable_Destroy) == 360);
static_assert(offsetof(PJRT_Api, Executable_Name) == 368);
static_assert(offsetof(PJRT_Api, Executable_NumReplicas) == 376);
static_assert(offsetof(PJRT_Api, Executable_NumPartitions) == 384);
static_assert(offsetof(PJRT_Api, Executable_NumOutputs) == 392);
static_assert(offsetof(PJRT_Api, Executable_SizeOfGeneratedCodeInBytes) == 400);
static_assert(offsetof(PJRT_Api, Executable_GetCostAnalysis) == 408);
static_assert(offsetof(PJRT_Api, Executable_OutputMemoryKinds) == 416);
static_assert(offsetof(PJRT_Api, Executable_OptimizedProgram) == 424);
static_assert(offsetof(PJRT_Api, Executable_Serialize) == 432);
static_assert(offsetof(PJRT_Api, LoadedExecutable_Destroy) == 440);
static_assert(offsetof(PJRT_Api, LoadedExecutable_GetExecutable) == 448);
static_assert(offsetof(PJRT_Api, LoadedExecutable_AddressableDevices) == 456);
static_assert(offsetof(PJRT_Api, LoadedExecutable_Delete) == 464);
static_assert(offsetof(PJRT_Api, LoadedExecutable_IsDeleted) == 472);
static_assert(offsetof(PJRT_Api, LoadedExecutable_Execute) == 480);
static_assert(offsetof(PJRT_Api, Executable_DeserializeAndLoad) == 488);
static_assert(offsetof(PJRT_Api, LoadedExecutable_Fingerprint) == 496);
static_assert(offsetof(PJRT_Api, Buffer_Destroy) == 504);
static_assert(offsetof(PJRT_Api, Buffer_ElementType) == 512);
static_assert(offsetof(PJRT_Api, Buffer_Dimensions) == 520);
static_assert(offsetof(PJRT_Api, Buffer_UnpaddedDimensions) == 528);
static_assert(offsetof(PJRT_Api, Buffer_DynamicDimensionIndices) == 536);
static_assert(offsetof(PJRT_Api, Buffer_GetMemoryLayout) == 544);
static_assert(offsetof(PJRT_Api, Buffer_OnDeviceSizeInBytes) == 552);
static_assert(offsetof(PJRT_Api, Buffer_Device) == 560);
static_assert(offsetof(PJRT_Api, Buffer_Memory) == 568);
static_assert(offsetof(PJRT_Api, Buffer_Delete) == 576);
static_assert(offsetof(PJRT_Api, Buffer_IsDeleted) == 584);
static_assert(offsetof(PJRT_Api, Buffer_CopyToDevice) == 592);
static_assert(offsetof(PJRT_Api, Buffer_ToHostBuffer) == 600);
static_assert(offsetof(PJRT_Api, Buffer_IsOnCpu) == 608);
static_assert(offsetof(PJRT_Api, Buffer_ReadyEvent) == 616);
static_assert(offsetof(PJRT_Api, Buffer_UnsafePointer) == 624);
static_assert(offsetof(PJRT_Api, Buffer_IncreaseExternalReferenceCount) == 632);
static_assert(offsetof(PJRT_Api, Buffer_DecreaseExternalReferenceCount) == 640);
static_assert(offsetof(PJRT_Api, Buffer_OpaqueDeviceMemoryDataPointer) == 648);
static_assert(offsetof(PJRT_Api, CopyToDeviceStream_Destroy) == 656);
static_assert(offsetof(PJRT_Api, CopyToDeviceStream_AddChunk) == 664);
static_assert(offsetof(PJRT_Api, CopyToDeviceStream_TotalBytes) == 672);
static_assert(offsetof(PJRT_Api, CopyToDeviceStream_GranuleSize) == 680);
static_assert(offsetof(PJRT_Api, CopyToDeviceStream_CurrentBytes) == 688);
static_assert(offsetof(PJRT_Api, TopologyDescription_Create) == 696);
static_assert(offsetof(PJRT_Api, TopologyDescription_Destroy) == 704);
static_assert(offsetof(PJRT_Api, TopologyDescription_PlatformName) == 712);
static_assert(offsetof(PJRT_Api, TopologyDescription_PlatformVersion) == 720);
static_assert(offsetof(PJRT_Api, TopologyDescription_GetDeviceDescriptions) == 728);
static_assert(offsetof(PJRT_Api, TopologyDescription_Serialize) == 736);
static_assert(offsetof(PJRT_Api, TopologyDescription_Attributes) == 744);
static_assert(offsetof(PJRT_Api, Compile) == 752);
static_assert(offsetof(PJRT_Api, Executable_OutputElementTypes) == 760);
static_assert(offsetof(PJRT_Api, Executable_OutputDimensions) == 768);
static_assert(offsetof(PJRT_Api, Buffer_CopyToMemory) == 776);
static_assert(offsetof(PJRT_Api, Client_CreateViewOfDeviceBuffer) == 784);
static_assert(offsetof(PJRT_Api, Executable_Fingerprint) == 792);
static_assert(offsetof(PJRT_Api, Client_TopologyDescription) == 800);
static_assert(offsetof(PJRT_Api, Executable_GetCompiledMemoryStats) == 808);
static_assert(offsetof(PJRT_Api, Memory_Kind_Id) == 816);
static_assert(offsetof(PJRT_Api, ExecuteContext_Create) == 824);
static_assert(offsetof(PJRT_Api, ExecuteContext_Destroy) == 832);
static_assert(offsetof(PJRT_Api, Buffer_CopyRawToHost) == 840);
static_assert(offsetof(PJRT_Api, AsyncHostToDeviceTransferManager_Destroy) == 848);
static_assert(offsetof(PJRT_Api, AsyncHostToDeviceTransferManager_TransferData) == 856);
static_assert(offsetof(PJRT_Api, Client_CreateBuffersForAsyncHostToDevice) == 864);
static_assert(offsetof(PJRT_Api, AsyncHostToDeviceTransferManager_RetrieveBuffer) == 872);
static_assert(offsetof(PJRT_Api, AsyncHostToDeviceTransferManager_Device) == 880);
static_assert(offsetof(PJRT_Api, AsyncHostToDeviceTransferManager_BufferCount) == 888);
static_assert(offsetof(PJRT_Api, AsyncHostToDeviceTransferManager_BufferSize) == 896);
static_assert(offsetof(PJRT_Api, AsyncHostToDeviceTransferManager_SetBufferError) == 904);
static_assert(offsetof(PJRT_Api, AsyncHostToDeviceTransferManager_AddMetadata) == 912);
static_assert(offsetof(PJRT_Api, Client_DmaMap) == 920);
static_assert(offsetof(PJRT_Api, Client_DmaUnmap) == 928);
static_assert(offsetof(PJRT_Api, Client_CreateUninitializedBuffer) == 936);
static_assert(offsetof(PJRT_Api, Client_UpdateGlobalProcessInfo) == 944);
static_assert(offsetof(PJRT_Api, TopologyDescription_Deserialize) == 952);
static_assert(offsetof(PJRT_Api, Client_CreateAliasBuffer) == 960);
static_assert(offsetof(PJRT_Api, Client_FulfillAliasBuffer) == 968);
static_assert(offsetof(PJRT_Api, LoadedExecutable_GetDeviceAssignment) == 976);
static_assert(offsetof(PJRT_Api, Client_CreateErrorBuffer) == 984);
static_assert(offsetof(PJRT_Api, AsyncHostToDeviceTransferManager_TransferLiteral) == 992);
static_assert(offsetof(PJRT_Api, Buffer_CopyRawToHostFuture) == 1000);
static_assert(offsetof(PJRT_Api, Device_PoisonExecution) == 1008);
static_assert(offsetof(PJRT_Api, Device_CreateAsyncTrackingEvent) == 1016);
static_assert(offsetof(PJRT_Api, AsyncTrackingEvent_Destroy) == 1024);
static_assert(offsetof(PJRT_Api, Executable_GetCompileOptions) == 1032);
static_assert(offsetof(PJRT_Api, Buffer_DonateWithControlDependency) == 1040);
static_assert(offsetof(PJRT_Api, Event_Create) == 1048);
static_assert(offsetof(PJRT_Api, Event_Set) == 1056);
static_assert(offsetof(PJRT_Api, Device_GetAttributes) == 1064);
static_assert(offsetof(PJRT_Api, Client_Load) == 1072);
static_assert(offsetof(PJRT_Api, LoadedExecutable_AddressableDeviceLogicalIds) == 1080);
static_assert(offsetof(PJRT_Api, Buffer_Bitcast) == 1088);
static_assert(offsetof(PJRT_Api, Error_ForEachPayload) == 1096);
static_assert(offsetof(PJRT_Api, TopologyDescription_Fingerprint) == 1104);
static_assert(offsetof(PJRT_Api, Executable_ParameterMemoryKinds) == 1112);
static_assert(offsetof(PJRT_Api, Device_ClearMemoryStats) == 1120);
static_assert(offsetof(PJRT_Api, TopologyDescription_MakeCanonicalShapeForMemorySpace) == 1128);
static_assert(offsetof(PJRT_Api, TopologyDescription_GetMemorySpaceKindIds) == 1136);

}  // namespace
}  // namespace jax_ane::pjrt
