// SPDX-License-Identifier: Apache-2.0
// The numbers of all refusals. jax_ane/compiler/constraints.json holds a row for each (a test
// compares the two): ANE001-ANE099 are rules of the chip and its compiler, ANE100 and up are MIL
// syntax and type errors.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

namespace jax_ane::software {

enum class Rule : int {
    kRank = 1,
    kAxisLength = 2,
    kChannels = 3,
    kBatch = 4,
    kBorderType = 5,
    kInteriorType = 6,
    kNoAnePath = 7,
    kIdentity = 8,
    kOutputIsInput = 9,
    kMatmulRank = 10,
    kMatmulInner = 11,
    kInlineOptional = 12,
    kRuntimeWeight = 13,
    kRuntimeConvWeight = 14,
    kPad = 15,
    kConcatInterleave = 16,
    kConvKernelWidth = 17,
    kConvKernelHeight = 18,
    kPoolWindow = 19,
    kGatherIndices = 20,
    kGeluMode = 21,
    kChipTooOld = 22,
    kLoadedPrograms = 23,
    kSurface = 24,
    kFloatBorder = 25,
    kConstantBytes = 26,
    kConvRank = 27,
    kShuffleFactor = 28,
    kTopK = 29,
    kInt4Blockwise = 30,
    kVectorPalette = 31,
    kEinsum = 32,
    kTileFactor = 33,
    kScaledRounding = 34,
    kWeightMemory = 40,
    kSurfaceCount = 41,

    kLexical = 100,
    kSyntax = 101,
    kNesting = 102,
    kNumber = 103,
    kVersion = 104,
    kOpset = 105,
    kMainFunction = 106,
    kUndefinedName = 107,
    kDuplicateName = 108,
    kUnknownOp = 109,
    kUnknownArgument = 110,
    kMissingArgument = 111,
    kArgumentType = 112,
    kNotConstant = 113,
    kResultType = 114,
    kBadDimension = 115,
    kTooLarge = 116,
    kLiteralCount = 117,
    kBlobPath = 118,
    kBlobOffset = 119,
    kBlobMetadata = 120,
    kArgumentValue = 121,
    kShapes = 122,
    kResultCount = 123,
    kDuplicateOpName = 124,
    kAttribute = 125,
    kUnknownType = 126,
    kUnimplementedOp = 127,
    kTextSize = 128,
    kOpsetTooOld = 129,
};

// "ANE017".
inline std::string RuleName(Rule rule) {
    char text[16];
    std::snprintf(text, sizeof text, "ANE%03d", static_cast<int>(rule));
    return text;
}

// Where in the MIL text, both counted from 1.
struct Position {
    int line = 1;
    int column = 1;
};

// One refusal.
struct Finding {
    Rule rule;
    Position position;
    std::string message;
};
using Findings = std::vector<Finding>;

}  // namespace jax_ane::software
