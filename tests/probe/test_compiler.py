"""Dynamo under the compile rules: nothing of the user's settings reaches them, and they are left as they were."""

from __future__ import annotations

import logging

import torch
from torch import nn
from torch._dynamo import config, funcname_cache

from layersmith import runner
from layersmith.finding import Outcome
from layersmith.probe.compiler import captured, compiler
from layersmith.registry import load


def test_the_users_own_settings_of_dynamo_change_no_answer() -> None:
    rule = load("recompiles")
    bad = next(example.subject for example in rule.examples if example.expect)
    with config.patch(error_on_recompile=True):
        assert runner.ask(bad, rule).outcome is Outcome.FAIL
        assert config.error_on_recompile


def test_settings_and_logger_are_restored() -> None:
    logger = logging.getLogger("torch._dynamo")
    before = logger.level, config.verbose, config.recompile_limit
    with compiler(recompile_limit=3):
        assert config.recompile_limit == 3
    assert (logger.level, config.verbose, config.recompile_limit) == before


def test_no_file_is_read_for_a_log_that_nobody_sees() -> None:
    funcname_cache.clearcache()
    with compiler() as backend:
        captured(nn.ReLU(), backend)(torch.zeros(2))
    assert not funcname_cache.cache
