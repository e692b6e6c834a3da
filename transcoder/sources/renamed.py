"""A source with renamed variables: they have the names of a mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from transcoder.sources.base import ByteRange, Closing, Location, Source
from transcoder.tensors import TensorSpec


class Renamed(Closing):
    """`names` maps each new name to the name that the source has."""

    def __init__(self, source: Source, names: Mapping[str, str]) -> None:
        self._source = source
        self._names = names
        self.kind, self.producer, self.scope = source.kind, source.producer, source.scope
        self.specs: Mapping[str, TensorSpec] = {new: replace(source.specs[old], name=new) for new, old in names.items()}
        self.not_tensors = source.not_tensors

    @property
    def path(self) -> Location:
        return self._source.path

    def read_into(self, name: str, start: int, buffer: memoryview) -> None:
        self._source.read_into(self._names[name], start, buffer)

    def byte_range(self, name: str) -> ByteRange | None:
        return self._source.byte_range(self._names[name])

    def files(self) -> tuple[Location, ...]:
        return self._source.files()

    def close(self) -> None:
        self._source.close()
