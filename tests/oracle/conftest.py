"""How the oracle tests are shared between the workers of `pytest -n 2 --dist loadgroup`."""

import pytest

# Fixtures that take minutes, the slowest first. The tests of one go to one worker, which makes it once.
SLOW = ("matrix", "made_anew", "fresh")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests by their slow fixture, and start with the slowest group."""

    def rank(item: pytest.Item) -> int:
        names = getattr(item, "fixturenames", ())
        return next((number for number, name in enumerate(SLOW) if name in names), len(SLOW))

    oracle = {item for item in items if item.get_closest_marker("oracle")}
    for item in oracle:
        if rank(item) < len(SLOW):
            item.add_marker(pytest.mark.xdist_group(f"{item.path.name} {SLOW[rank(item)]}"))
    items.sort(key=lambda item: rank(item) if item in oracle else -1)
