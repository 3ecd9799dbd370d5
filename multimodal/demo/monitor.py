"""What Prometheus is told of the service."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from torch import Tensor

from multimodal.demo.drift import Drift
from multimodal.demo.service import EMBED, Service
from multimodal.towers import MODALITIES

SECONDS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60)
ROWS = (1, 2, 4, 8, 16, 32)


class Monitor:
    """Counters, histograms and gauges of one service."""

    def __init__(self):
        self.registry = CollectorRegistry()
        told: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(
            "unison_requests", "Requests to generate by HTTP status or, on the page, by outcome.",
            ["door", "status"], **told,
        )  # fmt: skip
        self.latency = Histogram(
            "unison_request_seconds", "Time of a request that succeeded, waiting included.",
            ["door"], buckets=SECONDS, **told,
        )  # fmt: skip
        self.failures = Counter(
            "unison_failures", "Requests that ended early: invalid, late, cancelled, broken.",
            ["fault"], **told,
        )  # fmt: skip
        self.step_seconds = Histogram(
            "unison_step_seconds", "Time of a step of a batch.", ["step"], buckets=SECONDS, **told
        )
        self.step_rows = Histogram(
            "unison_step_samples", "Samples in a step's batch.", ["step"], buckets=ROWS, **told
        )
        self.inputs_seen = Counter(
            "unison_inputs", "Signals that were given.", ["modality"], **told
        )
        self.queue = Gauge("unison_queue", "Requests waiting or at work.", **told)
        self.drift = Gauge(
            "unison_input_drift", "Mean squared Mahalanobis distance of recent inputs from the"
            " training distribution, over its dimensions; about 1 for inputs like those.",
            ["modality"], **told,
        )  # fmt: skip
        for step in (EMBED, *MODALITIES):
            self.step_seconds.labels(step)
        self._drift: Drift | None = None

    def attend(self, service: Service) -> None:
        """Read queue and drift from a service when they are asked for."""
        self.queue.set_function(lambda: service.waiting)
        drift = Drift(service.call(lambda unison: unison.stage("prior")))
        for modality in drift.recent:
            self.drift.labels(modality).set_function(lambda modality=modality: drift(modality))
        self._drift = drift

    def batch(self, step: str, rows: int, seconds: float) -> None:
        """Note a step of so many samples."""
        self.step_seconds.labels(step).observe(seconds)
        self.step_rows.labels(step).observe(rows)

    def inputs(self, embedded: Mapping[str, Float[Tensor, "B E"]]) -> None:
        """Note the embeddings of what was given."""
        for modality, rows in embedded.items():
            self.inputs_seen.labels(modality).inc(len(rows))
        if self._drift is not None:
            self._drift.note(embedded)

    def page(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)
