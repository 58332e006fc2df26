"""What k6 shall do, and what came of it. Pure: runs nothing.

Scenarios: https://grafana.com/docs/k6/latest/using-k6/scenarios/executors/constant-arrival-rate/
Thresholds: https://grafana.com/docs/k6/latest/using-k6/thresholds/
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

PAUSE_S = 5  # between two scenarios, so that the end of one does not slow the next
QUANTILES = ("med", "p(95)", "max")
HEAD = ("scenario", "requests", "a second", "median s", "p95 s", "longest s", "errors", "late", "")


def build_plan(args: argparse.Namespace) -> dict[str, Any]:
    """Short and long audio, assisted and not, one after the other, each at a constant rate of arrivals.

    Short and long load the server alike: `audio_rate` seconds of audio arrive in a second. A scenario fails over
    `errors` of failed requests, over its p95, or when requests could not be sent on time.
    """
    options: dict[str, Any] = {"scenarios": {}, "thresholds": {}, "summaryTrendStats": list(QUANTILES)}
    requests = {}
    lengths = {"short": (args.short, args.short_p95), "long": (args.long, args.long_p95)}
    drafts = (False,) if args.without_assistant else (False, True)
    kinds = [(length, assisted) for length in lengths for assisted in drafts]
    for number, (length, assisted) in enumerate(kinds):
        seconds, p95_s = lengths[length]
        name = f"{length}_assisted" if assisted else length
        requests[name] = {"audio": length, "path": f"/?assisted={str(assisted).lower()}"}
        options["scenarios"][name] = {
            "executor": "constant-arrival-rate",
            "exec": "transcribe",
            "rate": 1,
            "timeUnit": f"{seconds / args.audio_rate * 1000:.0f}ms",
            "duration": f"{args.duration:g}s",
            "startTime": f"{number * (args.duration + PAUSE_S):g}s",
            "preAllocatedVUs": args.in_flight,
            "gracefulStop": f"{args.timeout:g}s",
        }
        options["thresholds"] |= {
            f"http_reqs{{scenario:{name}}}": ["count>0"],
            f"http_req_failed{{scenario:{name}}}": [f"rate<={args.errors:g}"],
            f"checks{{scenario:{name}}}": [f"rate>={1 - args.errors:g}"],
            f"http_req_duration{{scenario:{name}}}": [f"p(95)<={p95_s * 1000:g}"],
            f"dropped_iterations{{scenario:{name}}}": ["count<1"],
        }
    return {
        "url": args.url,
        "timeout": f"{args.timeout:g}s",
        "audio": {name: seconds for name, (seconds, _) in lengths.items()},
        "requests": requests,
        "options": options,
    }


def rows(plan: Mapping[str, Any], summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One for each scenario; `summary` is what k6's `handleSummary` gets. `missed` are its thresholds."""
    metrics = summary["metrics"]
    measured = []
    for name, scenario in plan["options"]["scenarios"].items():
        own = {key: metrics[key] for key in metrics if key.endswith(f"{{scenario:{name}}}")}
        values = {key.partition("{")[0]: metric["values"] for key, metric in own.items()}
        durations = values.get("http_req_duration", {})
        measured.append(
            {
                "scenario": name,
                "requests": values.get("http_reqs", {}).get("count", 0),
                "per_second": 1000 / float(scenario["timeUnit"].removesuffix("ms")),
                **{f"{quantile}_s": durations.get(quantile, 0) / 1000 for quantile in QUANTILES},
                "errors": values.get("http_req_failed", {}).get("rate", 0),
                "late": values.get("dropped_iterations", {}).get("count", 0),
                "missed": [
                    f"{key.partition('{')[0]} {threshold}"
                    for key, metric in own.items()
                    for threshold, verdict in metric.get("thresholds", {}).items()
                    if not verdict["ok"]
                ],
            }
        )
    return measured


def table(measured: Sequence[Mapping[str, Any]]) -> str:
    """As Markdown."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    for row in measured:
        cells = [
            row["scenario"].replace("_", " "),
            f"{row['requests']:.0f}",
            f"{row['per_second']:.2f}",
            *(f"{row[f'{quantile}_s']:.2f}" for quantile in QUANTILES),
            f"{row['errors']:.1%}",
            f"{row['late']:.0f}",
            "**missed**: " + ", ".join(row["missed"]) if row["missed"] else "ok",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
