"""What data sets are called in figures and tables."""

from analysis.figures.style import on_data
from analysis.stats.datasets import NAMES, dataset_name
from trainable.config.choices import DATASETS


def test_names_are_of_data_sets_that_there_are() -> None:
    assert NAMES.keys() <= set(DATASETS)


def test_tables_and_figures_call_a_data_set_alike_and_say_which_is_not_the_papers() -> None:
    assert dataset_name("voc2012") == on_data("voc2012") == "Pascal VOC 2012"
    assert dataset_name("my_own") == on_data("my_own") == "my_own"
    assert dataset_name("folder") == on_data("folder") == "own data"
    assert dataset_name("shapes") == "shapes (generated)"
    assert on_data("shapes") == "shapes (generated, not the paper's data)"
