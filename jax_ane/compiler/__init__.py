# SPDX-License-Identifier: Apache-2.0
"""The compiler: a StableHLO program in, ANE programs and a host module out (`pipeline.compile`).

Nothing is imported here: a process that finds its programs in a cache needs only `loading`.
"""
