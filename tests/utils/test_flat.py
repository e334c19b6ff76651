from utils.flat import flattened


def test_flat_keys() -> None:
    assert flattened({"a": {"b": 1, "c": {}}, "d": [1, 2], "e": [{"f": 3}, 4], "g": []}) == {
        "a.b": 1,
        "a.c": {},
        "d": [1, 2],
        "e.0.f": 3,
        "e.1": 4,
        "g": [],
    }
