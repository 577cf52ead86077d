# SPDX-License-Identifier: Apache-2.0
"""Adapters between models as people have them and training."""
