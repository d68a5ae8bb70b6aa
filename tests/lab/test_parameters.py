import math
from typing import Annotated

import pydantic
import pytest
from pydantic import Field

from relcl_lib.lab.parameters import ParameterError, Parameters, read_settings
from relcl_lib.papers.hpcr.parameters import ReplayParameters

#: parameter -> values that do not fit
WRONG = {
    "buffer_size": ["200", 200.0, 0],
    "width": [True],
    "seeds": ["0 1", "one", {}, [], [0, 0], [0, -1], [0.0], [True], True, "[0, 0]", 0.5],
    "learning_rate": [math.nan, math.inf, "1e-4", -0.1, 0],
    "alpha": [math.nan],
    "beta": [-1.0],
    "temperature": [0.0],
    "hold_out": [1.0],
    "views": [3],
    "method": ["hpcr"],
    "dataset": ["cifar11"],
    "ht": ["on"],
    "pcd": ["yes"],
    "image_size": [7],
    "device": [0, "gpu", "cuda:x"],
}


class TestCreate:
    def test_a_misspelt_name_gets_the_nearest_and_all_valid_ones(self):
        with pytest.raises(ParameterError) as error:
            ReplayParameters.create({"bufer_size": 100})
        assert "unknown parameter 'bufer_size'; did you mean buffer_size or" in str(error.value)
        for name in ReplayParameters.model_fields:
            assert name in str(error.value)

    def test_every_unknown_name_is_named_at_once(self):
        with pytest.raises(ParameterError, match=r"'bufer_size'.*\n.*'widht'; did you mean width"):
            ReplayParameters.create(bufer_size=1, widht=2)

    def test_a_name_like_none_of_them(self):
        with pytest.raises(ParameterError, match=r"unknown parameter 'qqq'\. Valid names"):
            ReplayParameters.create(qqq=1)

    @pytest.mark.parametrize("name", WRONG)
    def test_a_value_that_does_not_fit(self, name):
        for value in WRONG[name]:
            with pytest.raises(ParameterError, match=rf"parameter {name}\b"):
                ReplayParameters.create({name: value})

    def test_every_wrong_value_is_named_at_once(self):
        with pytest.raises(ParameterError) as error:
            ReplayParameters.create(width="20", beta=-1.0)
        assert "parameter width" in str(error.value)
        assert "(got '20')" in str(error.value)
        assert "parameter beta" in str(error.value)

    @pytest.mark.parametrize("given", [{"t_min": 0.5}, {"t_max": 0.01}, {"t_min": 1, "t_max": 0.9}])
    def test_the_temperatures_range_must_be_one(self, given):
        with pytest.raises(ParameterError, match=r"t_max=.* lies below t_min="):
            ReplayParameters.create(given)

    @pytest.mark.parametrize("profile", ["fast", 3, ["quick"]])
    def test_unknown_profile(self, profile):
        with pytest.raises(ParameterError, match="choose one of quick, reduced, full"):
            ReplayParameters.create(profile=profile)

    def test_a_profile_sets_defaults_and_what_is_given_wins(self):
        quick = ReplayParameters.create()
        profile = ReplayParameters.profiles["quick"]
        assert quick.profile == "quick"
        assert {name: getattr(quick, name) for name in profile} == profile
        assert quick.beta == ReplayParameters.model_fields["beta"].default
        full = ReplayParameters.create(profile="full", buffer_size=500)
        assert (full.dataset, full.buffer_size, len(full.seeds)) == ("cifar10", 500, 10)

    def test_none_takes_the_profiles_value(self):
        chosen = ReplayParameters.create(
            {"profile": "reduced", "dataset": None, "seeds": None, "alpha": None}
        )
        assert (chosen.dataset, chosen.seeds, chosen.alpha) == ("cifar10", [0, 1, 2], None)
        assert ReplayParameters.create(profile=None).profile == "quick"

    def test_every_profile_of_every_class_is_valid(self):
        for profile in ReplayParameters.profiles:
            assert ReplayParameters.create(profile=profile).resolved().profile == profile

    def test_whole_numbers_pass_as_floats(self):
        assert ReplayParameters.create(learning_rate=1).learning_rate == 1.0

    def test_frozen(self):
        with pytest.raises(pydantic.ValidationError, match="frozen"):
            ReplayParameters().width = 3


class OneList(Parameters):
    numbers: Annotated[list[int], Field(min_length=1)] | None = None


@pytest.mark.parametrize(
    "given, seeds",
    [
        (0, [0]),
        ("[0,1]", [0, 1]),  # what papermill's -p and a command line make of a list
        ("0,1", [0, 1]),
        ("3", [3]),
        ((4, 5), [4, 5]),
        ([6], [6]),
    ],
)
def test_a_list_is_read_however_it_is_given(given, seeds):
    assert ReplayParameters.create(seeds=given).seeds == seeds
    assert OneList.create(numbers=given).numbers == seeds


def test_what_is_no_list_gets_the_form_of_one():
    with pytest.raises(ParameterError, match=r'got \'0 1\'.*\n.*\[0, 1\].* -y "seeds: \[0, 1\]"'):
        ReplayParameters.create(seeds="0 1")


@pytest.mark.parametrize(
    "word, value",
    [
        ("epochs=3", 3),
        ("rate=1e-4", 1e-4),
        ("x=false", False),
        ("x=True", True),
        ("x=null", None),
        ("x=None", None),
        ("seeds=[0, 1]", [0, 1]),
        ("seeds=0,1", (0, 1)),
        ("dataset=nyt10", "nyt10"),
        ("encoder=runs/a=b", "runs/a=b"),
        ("encoder='12'", "12"),
        ("note=", ""),
    ],
)
def test_words_of_a_command_line(word, value):
    name = word.split("=")[0]
    assert read_settings([word]) == {name: value}
    assert type(read_settings([word])[name]) is type(value)


@pytest.mark.parametrize("words", [["epochs"], ["=3"]])
def test_words_that_are_no_settings(words):
    with pytest.raises(ParameterError, match="is no NAME=VALUE"):
        read_settings(words)
