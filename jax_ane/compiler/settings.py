# SPDX-License-Identifier: Apache-2.0
"""The flags that decide what a program becomes."""

from __future__ import annotations

import dataclasses
import json

from jax_ane._config import config


@dataclasses.dataclass(frozen=True)
class Settings:
    """Their values, read once per compilation."""

    placement: str
    chip: str
    numerics: str
    disabled_passes: tuple[str, ...]
    validate_ir: bool
    dump_dir: str
    strict: str
    weights: str

    @property
    def is_watched(self) -> bool:
        """Whether compiling does more than make programs: it dumps, warns or verifies."""
        return bool(self.dump_dir) or self.validate_ir or self.strict != "off"

    @classmethod
    def current(cls, carried: str = "") -> Settings:
        """Returns the flags in force; `carried` are those of the thread that asked, as JSON."""
        values = {**config.values(), **(json.loads(carried) if carried else {})}
        names = tuple(n.strip() for n in values["disable_passes"].split(",") if n.strip())
        return cls(
            values["placement"], values["chip"], values["numerics"], names,
            values["validate_ir"], values["dump_dir"], values["strict"], values["weights"],
        )  # fmt: skip
