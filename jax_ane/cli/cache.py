# SPDX-License-Identifier: Apache-2.0
"""`jax-ane cache`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time

EXAMPLE = "example: jax-ane cache list --json"


def add(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("action", choices=("list", "clear"), help="show the entries, or remove all")
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Prints the entries of the folder that the flag `cache_dir` names, or removes them."""
    from jax_ane import _cache, config

    folder = _cache.folder(config.cache_dir)
    if folder is None:
        print(json.dumps({"folder": None}) if arguments.json else "the cache is off")
        return 0
    cache = _cache.Cache(folder, config.cache_max_bytes)
    if arguments.action == "clear":
        count = cache.clear()
        answer = {"folder": str(folder), "removed": count}
        print(json.dumps(answer) if arguments.json else f"removed {count} program(s) of {folder}")
        return 0
    entries = cache.entries()
    total = sum(entry.size_bytes for entry in entries)
    if arguments.json:
        rows = [dataclasses.asdict(entry) for entry in entries]
        print(json.dumps({"folder": str(folder), "bytes": total, "entries": rows}))
        return 0
    print(f"{folder}: {len(entries)} program(s), {_mib(total)} of {_mib(cache.max_bytes)}")
    for entry in entries:
        used = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.used_at))
        print(f"{entry.key[:16]}  {_mib(entry.size_bytes):>12}  used {used}")
    return 0


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.1f} MiB"
