import math

import pydantic
import pytest
from pydantic import Field

from relcl_lib.lab.parameters import ParameterError, Parameters, notebook_parameters
from relcl_lib.papers.hpcr.parameters import ReplayParameters

#: parameter -> values that do not fit
WRONG = {
    "buffer_size": ["200", 200.0, 0],
    "width": [True],
    "seeds": ["[0,1]", 0, [], [0, 0], [0, -1], [0.0], [True]],
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
    "device": [0],
}


class TestCreate:
    def test_a_misspelt_name_gets_the_nearest_and_all_valid_ones(self):
        with pytest.raises(ParameterError) as error:
            ReplayParameters.create({"bufer_size": 100})
        assert "unknown parameter 'bufer_size'; did you mean buffer_size or" in str(error.value)
        for name in ReplayParameters.model_fields:
            assert name in str(error.value)

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

    def test_jupyter_shows_the_message_alone(self):
        assert ParameterError("so")._render_traceback_() == ["ParameterError: so"]


class Small(Parameters):
    alpha: float = 1.0
    seeds: list[int] = Field([0])
    name: str = "x"


class TestNotebook:
    PARAMETERS = 'profile = "quick"\nalpha = 0.5  # weight\nseeds: list = [0, 1]'
    SETUP = "parameters = notebook_parameters(Small, globals())\nfolder = 'out'"

    @staticmethod
    def read(*cells, **values):
        namespace = {"In": ["", *cells], "alpha": 0.5, "seeds": [0, 1], "profile": "quick"}
        return notebook_parameters(Small, {**namespace, **values})

    def test_a_parameters_cell(self):
        found = self.read(self.PARAMETERS, self.SETUP)
        assert (found.alpha, found.seeds, found.name) == (0.5, [0, 1], "x")

    def test_an_injected_cell_wins_and_its_typo_stops_the_run(self):
        injected = "# Parameters\nalpha = 2.0"
        assert self.read(self.PARAMETERS, injected, self.SETUP, alpha=2.0).alpha == 2.0
        with pytest.raises(ParameterError, match="'alhpa'; did you mean alpha"):
            self.read(self.PARAMETERS, "# Parameters\nalhpa = 2.0", self.SETUP, alhpa=2.0)

    def test_a_wrong_type_from_outside_stops_the_run(self):
        with pytest.raises(ParameterError, match="parameter seeds"):
            self.read(self.PARAMETERS, 'seeds = "[0, 1]"', self.SETUP, seeds="[0, 1]")

    def test_setup_may_run_again_after_other_cells(self):
        computed = "result = alpha * 2"
        shown = "folder = 'out'\nprint(folder)"
        cells = (self.PARAMETERS, self.SETUP, computed, shown, self.SETUP)
        assert self.read(*cells, result=1.0, folder="out").alpha == 0.5
        edited = (*cells, self.PARAMETERS.replace("0.5", "0.7"), self.SETUP)
        assert self.read(*edited, alpha=0.7, result=1.0, folder="out").alpha == 0.7

    def test_a_later_cell_of_plain_values_is_none_of_ours(self):
        cells = (self.PARAMETERS, self.SETUP, "k = 3\ntau = 0.5", self.SETUP)
        assert self.read(*cells, k=3, tau=0.5).alpha == 0.5
        typo = (*cells, "alpha = 0.7\nsedes = [1]", self.SETUP)
        with pytest.raises(ParameterError, match="sedes"):
            self.read(*typo, k=3, tau=0.5, alpha=0.7, sedes=[1])

    @pytest.mark.parametrize(
        "cell",
        ["%matplotlib inline", "!ls", "n = len(seeds)", "import os", "x, y = 1, 2", "y = [x]", ""],
    )
    def test_cells_that_are_no_parameters(self, cell):
        values = {"n": 2, "x": 1, "y": 2}
        assert self.read(self.PARAMETERS, cell, self.SETUP, **values).alpha == 0.5

    def test_a_name_deleted_since_is_no_parameter(self):
        cells = {"In": ["", "gone = 1", "alpha = 3.0"], "alpha": 3.0}
        assert notebook_parameters(Small, cells).alpha == 3.0

    def test_a_runner_that_keeps_no_history(self):
        kernel = {"In": [""], "Out": {}, "_dh": ["x"], "exit": print, "math": math}
        assert notebook_parameters(Small, {**kernel, "alpha": 2.0, "name": "y"}).alpha == 2.0
        with pytest.raises(ParameterError, match="alhpa"):
            notebook_parameters(Small, {**kernel, "alhpa": 2.0})

    def test_outside_a_notebook(self):
        assert notebook_parameters(Small, {"alpha": 7}).alpha == 1.0
