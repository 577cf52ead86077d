// SPDX-License-Identifier: Apache-2.0
// The serialised form of a program: magic, the plugin's version, StableHLO and options as JAX gave
// them, what compiling made of them (jax_ane._stored), and a checksum over all of it. The StableHLO
// is compiled again where the rest does not fit the process that loads it.
#include <cstring>
#include <string_view>

#include "pjrt/executable.h"

namespace jax_ane::pjrt {
namespace {

constexpr std::string_view kMagic = "JAXANE\x02\n";

void AppendField(std::string* out, const std::string& field) {
    const uint64_t size = field.size();
    out->append(reinterpret_cast<const char*>(&size), sizeof(size));
    out->append(field);
}

bool TakeField(std::string_view* rest, std::string* field) {
    uint64_t size = 0;
    if (rest->size() < sizeof(size)) return false;
    std::memcpy(&size, rest->data(), sizeof(size));
    rest->remove_prefix(sizeof(size));
    if (size > rest->size()) return false;
    field->assign(rest->substr(0, size));
    rest->remove_prefix(size);
    return true;
}

Status Corrupt(const char* what) {
    return InvalidArgument(std::string("these bytes are no executable of jax-ane: ") + what);
}

}  // namespace

StatusOr<std::string> SerializeProgram(const Program& program) {
    JAX_ANE_ASSIGN_OR_RETURN(std::string stored, program.Stored());
    std::string out(kMagic);
    AppendField(&out, program.client->platform_version());
    AppendField(&out, program.code);
    AppendField(&out, program.options);
    AppendField(&out, stored);
    const uint64_t checksum = Fingerprint(out);
    out.append(reinterpret_cast<const char*>(&checksum), sizeof(checksum));
    return out;
}

StatusOr<ProgramSource> ParseSerialized(const char* data, size_t size, const std::string& version) {
    std::string_view rest(data, size);
    uint64_t checksum = 0;
    if (!rest.starts_with(kMagic)) return Corrupt("they start with other bytes");
    if (rest.size() < kMagic.size() + sizeof(checksum)) return Corrupt("they are cut short");
    std::memcpy(&checksum, data + size - sizeof(checksum), sizeof(checksum));
    rest.remove_suffix(sizeof(checksum));
    if (Fingerprint(std::string(rest)) != checksum) return Corrupt("their checksum is wrong");
    rest.remove_prefix(kMagic.size());
    std::string written_by;
    ProgramSource source;
    if (!TakeField(&rest, &written_by) || !TakeField(&rest, &source.code) ||
        !TakeField(&rest, &source.options) || !TakeField(&rest, &source.stored) || !rest.empty()) {
        return Corrupt("their fields do not add up");
    }
    if (written_by != version) {
        return InvalidArgument("this executable was written by \"" + written_by +
                               "\" and this is \"" + version + "\"; compile it again");
    }
    return source;
}

}  // namespace jax_ane::pjrt
