"""Every layer under all that torch can do with a module: compile, export, autocast, vmap, copies, devices."""

import copy
import io
import pickle
from collections.abc import Mapping
from importlib import import_module

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap

import layersmith.nn
from layersmith.subject import Case

LAYERS = ["feed_forward", "linear", "scaled_relu"]


@pytest.fixture(params=LAYERS)
def case(request: pytest.FixtureRequest) -> Case:
    subject = import_module(f"layersmith.nn.{request.param}").example()
    found: Case = subject.case(seed=1)
    return found


def rows(case: Case, *, count: int = 4) -> Tensor:
    (x,) = case.inputs.args
    return torch.randn(count, x.shape[-1])


def loss(parameters: Mapping[str, Tensor], module: nn.Module, x: Tensor) -> Tensor:
    output: Tensor = functional_call(module, dict(parameters), (x,))
    return output.square().sum()


def test_all_names_what_is_public() -> None:
    assert layersmith.nn.__all__ == ["FeedForward", "Linear", "ScaledReLU", "feed_forward", "scaled_relu"]
    assert all(hasattr(layersmith.nn, name) for name in layersmith.nn.__all__)


def test_each_layer_has_an_example_of_its_name(case: Case) -> None:
    assert case.subject.name == type(case.module).__name__
    assert isinstance(case.run(), Tensor)


def test_compile_in_one_graph_with_the_same_gradients(case: Case) -> None:
    torch.compiler.reset()
    x = rows(case).requires_grad_()
    compiled = torch.compile(case.module, fullgraph=True, backend="aot_eager")
    leaves = [x, *case.module.parameters()]
    mine = torch.autograd.grad(case.module(x).square().sum(), leaves)
    theirs = torch.autograd.grad(compiled(x).square().sum(), leaves)
    torch.testing.assert_close(theirs, mine)


def test_export_for_any_batch_size(case: Case) -> None:
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(case.module, (rows(case),), dynamic_shapes=({0: batch},))
    x = rows(case, count=11)
    torch.testing.assert_close(program.module()(x), case.module(x))


def test_autocast_to_bfloat16(case: Case) -> None:
    x = rows(case)
    with torch.autocast("cpu", torch.bfloat16):
        output = case.module(x)
    has_product = any(True for _ in case.module.parameters())
    assert output.dtype is (torch.bfloat16 if has_product else torch.float32)
    torch.testing.assert_close(output.float(), case.module(x), rtol=5e-2, atol=5e-2)


def test_vmap_is_the_batch(case: Case) -> None:
    x = rows(case)
    torch.testing.assert_close(vmap(case.module)(x), case.module(x))


def test_gradients_of_each_sample(case: Case) -> None:
    x, parameters = rows(case), dict(case.module.named_parameters())
    each = vmap(grad(loss, argnums=(0, 2)), in_dims=(None, None, 0))(parameters, case.module, x)
    for index, sample in enumerate(x):
        alone = grad(loss, argnums=(0, 2))(parameters, case.module, sample)
        torch.testing.assert_close({name: value[index] for name, value in each[0].items()}, alone[0])
        torch.testing.assert_close(each[1][index], alone[1])


def test_first_second_and_forward_derivatives(case: Case) -> None:
    module, x = case.module.double(), rows(case).double().requires_grad_()
    assert torch.autograd.gradcheck(module, x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(module, x)
    tangent = jvp(module, (x.detach(),), (torch.ones_like(x),))[1]
    assert tangent.shape == module(x).shape


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions(case: Case, dtype: torch.dtype) -> None:
    x, expected = rows(case), case.fresh().module
    output = case.module.to(dtype)(x.to(dtype))
    assert output.dtype is dtype
    torch.testing.assert_close(output.float(), expected(x), rtol=5e-2, atol=5e-2)


def test_deepcopy_pickle_and_state_dict(case: Case) -> None:
    x, module = rows(case), case.module
    saved = io.BytesIO()
    torch.save(module.state_dict(), saved)
    saved.seek(0)
    other = case.fresh(seed=2).module
    other.load_state_dict(torch.load(saved, weights_only=True))
    for same in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), other):
        assert torch.equal(same(x), module(x))
        assert repr(same) == repr(module)


def test_the_meta_device_then_real_weights(case: Case) -> None:
    torch.manual_seed(7)
    expected = case.subject.build(7)
    with torch.device("meta"):
        module = case.subject.build(7)
    assert all(parameter.is_meta for parameter in module.parameters())
    module.to_empty(device="cpu")
    torch.manual_seed(7)
    reset = getattr(module, "reset_parameters", None)
    if reset is not None:
        reset()
    torch.testing.assert_close(module.state_dict(), expected.state_dict(), rtol=0, atol=0)


def test_frozen_weights_pass_the_gradient_on(case: Case) -> None:
    x = rows(case).requires_grad_()
    case.module.requires_grad_(requires_grad=False)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.any()
