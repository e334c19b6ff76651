from utils.config_values import flattened, mapped


def test_flat_keys() -> None:
    assert flattened({"a": {"b": 1, "c": {}}, "d": [1, 2], "e": [{"f": 3}, 4], "g": []}) == {
        "a.b": 1,
        "a.c": {},
        "d": [1, 2],
        "e.0.f": 3,
        "e.1": 4,
        "g": [],
    }


def test_nested_values_are_copied_with_a_change() -> None:
    nested = {"a": [1, {"b": "x"}], "c": (2.5, None)}
    assert mapped(nested, lambda value: value * 2 if isinstance(value, int) else value) == {
        "a": [2, {"b": "x"}],
        "c": [2.5, None],
    }
    assert nested == {"a": [1, {"b": "x"}], "c": (2.5, None)}
