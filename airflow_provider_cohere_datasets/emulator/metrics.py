"""The metrics of a fine-tuning dataset."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

SPLITS = ("train", "eval")

_LABEL_SAMPLES = 3
# Cohere's tokenizers are not at hand offline; words and punctuation marks come close enough.
_TOKEN = re.compile(r"\w+|[^\w\s]")


class FinetuneTally:
    """Counts the examples of a fine-tuning dataset while they are written."""

    def __init__(self, dataset_type: str) -> None:
        """
        Start at zero.

        :param dataset_type: the type of the dataset; one that is not for fine-tuning is not counted.
        """
        self._type = dataset_type
        self._counts: Counter[str] = Counter()
        self._preamble = ""
        self._labels: dict[str, list[str]] = {}
        self._label_counts: Counter[str] = Counter()

    def add(self, split: str, record: dict[str, Any]) -> None:
        """
        Count one example.

        :param split: one of :data:`SPLITS`.
        :param record: the example as it is kept.
        """
        if "-finetune-" not in self._type:
            return
        self._counts[f"{split}_examples"] += 1
        self._counts[f"{split}_size_bytes"] += len(json.dumps(record, ensure_ascii=False).encode("utf-8"))
        if self._type == "chat-finetune-input":
            texts = self._add_chat(split, record)
        elif self._type == "reranker-finetune-input":
            texts = self._add_reranker(split, record)
        else:
            texts = self._add_classify(record)
        if split == "train":
            self._counts["tokens"] += sum(len(_TOKEN.findall(text)) for text in texts)

    def _add_chat(self, split: str, record: dict[str, Any]) -> list[str]:
        messages = record["messages"]
        self._counts[f"num_{split}_turns"] += len(messages)
        if not self._preamble:
            first = messages[0]  # Later ones of the system are speakers.
            self._preamble = first["content"] if first["role"].lower() == "system" else ""
        return [message["content"] for message in messages]

    def _add_reranker(self, split: str, record: dict[str, Any]) -> list[str]:
        negatives = record["hard_negatives"] or []
        self._counts[f"num_{split}_queries"] += 1
        self._counts[f"num_{split}_relevant_passages"] += len(record["relevant_passages"])
        self._counts[f"num_{split}_hard_negatives"] += len(negatives)
        return [record["query"], *record["relevant_passages"], *negatives]

    def _add_classify(self, record: dict[str, Any]) -> list[str]:
        label = record["label"]
        for name in [label] if isinstance(label, str) else label:
            self._label_counts[name] += 1
            samples = self._labels.setdefault(name, [])
            if len(samples) < _LABEL_SAMPLES:
                samples.append(record["text"])
        return [record["text"]]

    def answer(self) -> dict[str, Any]:
        """
        Give the ``metrics`` of the dataset as the API words them, zeros included.

        :returns: an empty dictionary for a dataset that is not for fine-tuning.
        """
        if "-finetune-" not in self._type:
            return {}
        counts = self._counts
        metrics: dict[str, Any] = {
            "trainable_token_count": counts["tokens"],
            "total_examples": sum(counts[f"{split}_examples"] for split in SPLITS),
        }
        for split in SPLITS:
            metrics[f"{split}_examples"] = counts[f"{split}_examples"]
            metrics[f"{split}_size_bytes"] = counts[f"{split}_size_bytes"]
        if self._type == "chat-finetune-input":
            turns = {f"num_{split}_turns": counts[f"num_{split}_turns"] for split in SPLITS}
            metrics["chat_data_metrics"] = {**turns, "preamble": self._preamble}
        elif self._type == "reranker-finetune-input":
            names = [f"num_{s}_{n}" for s in SPLITS for n in ("queries", "relevant_passages", "hard_negatives")]
            metrics["reranker_data_metrics"] = {name: counts[name] for name in names}
        else:
            metrics["classify_data_metrics"] = {
                "label_metrics": [
                    {"total_examples": self._label_counts[label], "label": label, "samples": samples}
                    for label, samples in self._labels.items()
                ]
            }
        return {"finetune_dataset_metrics": metrics}
