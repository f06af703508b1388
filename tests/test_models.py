"""Every model there is: a new file in amlnn_models is covered without a new test."""

from __future__ import annotations

import copy
from itertools import combinations

import pytest
import timm
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import amlnn_models
from amlnn_models import inception, small_maps, vgg
from amlnn_models.mirrored import looks_linear, mirrored_kernel
from pytest_amlnn import CLASSIFICATION, Training, discover

QUICK = {
    case.training.model: case for case in discover(amlnn_models) if case.profile == "quick"
}


def outputs_of(training: Training) -> int:
    """Return the number of outputs that the net of a case has."""
    return 10 if training.task is CLASSIFICATION else 1


def one_batch(training: Training) -> tuple[Tensor, Tensor]:
    """Return random inputs and targets such as the case's task would feed."""
    torch.manual_seed(0)
    if training.task is CLASSIFICATION:
        side = training.recipe.transforms.resolution
        return torch.randn(4, 3, side, side), torch.tensor([0, 1, 2, 3])
    window = int(training.data.arguments["window"])
    return torch.randn(4, window, 1), torch.randn(4, 1)


@pytest.mark.parametrize("model", QUICK)
def test_model_takes_a_step(model):
    """The net maps a batch to one row of outputs each, and a step changes its weights."""
    training = QUICK[model].training
    inputs, targets = one_batch(training)
    torch.manual_seed(0)
    net = training.build(outputs_of(training))
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    answers = net(inputs)
    loss = training.task.loss(answers, targets, training.recipe)
    loss.backward()
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    same = [name for name, p in net.named_parameters() if torch.equal(p, before[name])]

    assert answers.shape == (4, outputs_of(training))
    assert loss.isfinite()
    assert same == []


@pytest.mark.slow
@pytest.mark.parametrize("model", QUICK)
def test_stated_operations_are_about_right(model):
    """What parallel sweeps are ordered by is within a fifth of what is counted."""
    training = QUICK[model].training
    inputs, _ = one_batch(training)
    net = training.build(outputs_of(training)).eval()
    state = {name: value.to("meta") for name, value in net.state_dict().items()}
    with torch.no_grad(), FlopCounterMode(display=False) as count:
        torch.func.functional_call(net, state, inputs[:1].to("meta"))

    assert QUICK[model].flops == pytest.approx(count.get_total_flops(), rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize("model", QUICK)
def test_weights_follow_from_the_seed(model):
    """Equal global seeds draw equal weights, other seeds draw others."""

    def first_weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        net = QUICK[model].training.build(3)
        return next(p for p in net.parameters() if p.ndim > 1).detach()

    weights = first_weights(1)
    assert torch.equal(first_weights(1), weights)
    assert not torch.equal(first_weights(2), weights)


@pytest.mark.parametrize("side", [1, 2, 4, 7])
def test_folded_vgg_is_the_same_function(side):
    """The narrow kernel gives what averaging the map up and the wide kernel give."""
    torch.manual_seed(0)
    wide = nn.Conv2d(8, 16, 7).double()
    narrow = vgg.fold_kernel(wide.weight.detach().float(), side).double()
    maps = torch.randn(3, 8, side, side).double()
    expected = wide(nn.functional.adaptive_avg_pool2d(maps, 7))[:, :, 0, 0]
    found = nn.functional.conv2d(maps, narrow, wide.bias)[:, :, 0, 0]

    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_whole_vgg_answers_as_timm_does():
    """VGG-11 with its folded layer agrees with timm's own to float precision."""
    torch.manual_seed(0)
    reference = timm.create_model("vgg11", num_classes=5).eval()
    ours = vgg.fold(small_maps.quick_on_small_maps(copy.deepcopy(reference)), 2)
    pictures = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected, found = reference(pictures), ours(pictures)

    assert ours.pre_logits.fc1.weight.shape[-1] == 2
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max())


def test_inception_refuses_pictures_that_are_too_small():
    """Under 75 pixels the error names the model and both sizes."""
    with pytest.raises(ValueError, match=r"inception_v3 needs 75 pixels or more.*64"):
        inception.inception_v3(10, 64)


LINEAR = {
    "vgg11": (vgg.vgg11, 64, nn.ReLU),
    "vgg19": (vgg.vgg19, 32, nn.ReLU),
    "inception_v3": (inception.inception_v3, 75, BatchNormAct2d),
    "inception_v4": (inception.inception_v4, 75, BatchNormAct2d),
}


@pytest.mark.slow
@pytest.mark.parametrize(("build", "side", "rectifier"), LINEAR.values(), ids=LINEAR)
def test_fresh_channels_come_in_opposite_pairs(build, side, rectifier):
    """After each ReLU of a fresh net one of two neighbours is 0; no class is preferred."""
    net = build(200, side).train()
    pairs: list[Tensor] = []
    for layer in net.modules():
        if isinstance(layer, rectifier):
            layer.register_forward_hook(
                lambda _, __, maps: pairs.append(maps.detach().clone().unflatten(1, (-1, 2)))
            )
    with torch.no_grad():
        guesses = net(torch.randn(4, 3, side, side)).softmax(1)

    assert len(pairs) > 5
    for one, other in (pair.unbind(2) for pair in pairs):
        assert (one * other).max() == 0
        assert (one + other > 0).float().mean() > 0.9
    assert guesses.max() < 0.05


class Plain(nn.Sequential):
    """Layers with a head, which says what timm's nets say of it."""

    def get_classifier(self) -> nn.Module:
        """Return the last layer."""
        return self[-1]


def test_net_that_looks_linear_is_and_keeps_norms():
    """Twenty layers and ReLUs are one linear map, whose answers are as long as its inputs."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(8, 8, 3, padding=1) for _ in range(20)]
    steps = (step for layer in layers for step in (layer, nn.ReLU()))
    body = looks_linear(Plain(*steps, nn.Conv2d(8, 2, 1)))[:-1]

    def joined(maps: Tensor) -> Tensor:
        positive, negative = maps.unflatten(1, (-1, 2)).unbind(2)
        return positive - negative

    one, other = torch.randn(2, 8, 5, 5), torch.randn(2, 8, 5, 5)
    both = joined(body(one)) + 2 * joined(body(other))
    torch.testing.assert_close(joined(body(one + 2 * other)), both)
    torch.testing.assert_close(joined(body(one)).norm(dim=1), joined(one).norm(dim=1))


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 3, 3), nn.Conv2d(4, 4, 3, groups=2)])
def test_channels_that_cannot_be_paired_are_refused(layer):
    """An odd number of channels, or groups of them: the message shows the layer."""
    with pytest.raises(ValueError, match=r"0 is Conv2d\(4, .* cannot be paired"):
        looks_linear(Plain(layer, nn.Conv2d(4, 2, 1)))


def test_fully_connected_layer_sees_the_whole_map():
    """Folded or not, VGG's first fully connected layer is not drawn with a middle alone."""
    for layer in (small_maps.Dense(8, 16, 2), nn.Conv2d(8, 16, 7)):
        assert (mirrored_kernel(layer) != 0).all()
    assert (mirrored_kernel(nn.Conv2d(8, 16, 3))[:, :, 0] == 0).all()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"),
    [
        ((1, 1), (3, 3), (1, 1), (1, 1)),
        ((2, 2), (3, 3), (1, 1), (1, 1)),
        ((4, 4), (3, 3), (2, 2), (1, 1)),
        ((5, 6), (3, 3), (2, 2), (0, 1)),
        ((3, 3), (1, 7), (1, 1), (0, 3)),
        ((3, 4), (7, 1), (1, 1), (3, 0)),
        ((7, 7), (1, 1), (2, 2), (0, 0)),
        ((2, 3), (2, 2), (1, 1), (1, 1)),
        ((6, 6), (3, 3), (1, 1), (1, 1)),  # oneDNN there, products back
        ((9, 9), (3, 3), (1, 1), (1, 1)),  # oneDNN both ways
    ],
)
def test_products_on_small_maps_are_the_same_function(
    size, kernel, stride, padding, bias, layout, monkeypatch
):
    """Outputs and all gradients are those of torch's convolution, whatever its shape."""
    monkeypatch.setattr(small_maps, "MANY_CHANNELS", 5)
    torch.manual_seed(0)
    theirs = nn.Conv2d(6, 5, kernel, stride, padding, bias=bias).to(memory_format=layout)
    ours = small_maps.like(copy.deepcopy(theirs), small_maps.Products)
    maps = torch.randn(4, 6, *size).to(memory_format=layout)
    found, expected = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    answers = ours(found), theirs(expected)
    for answer in answers:
        answer.square().sum().backward()

    assert torch.allclose(*answers, atol=1e-5)
    assert torch.allclose(found.grad, expected.grad, atol=1e-4)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-4)


def test_products_follow_autocast():
    """In bfloat16 the answer has its type and its precision, the weights' gradient theirs."""
    torch.manual_seed(0)
    theirs = nn.Conv2d(64, 32, 3, padding=1)
    ours = small_maps.like(copy.deepcopy(theirs), small_maps.Products)
    maps = torch.randn(4, 64, 2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        found = ours(maps)
    found.float().square().sum().backward()
    exact = theirs(maps)
    exact.square().sum().backward()

    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float(), exact, atol=0.03)
    assert ours.weight.grad.dtype == torch.float32
    assert (ours.weight.grad - theirs.weight.grad).norm() < 0.02 * theirs.weight.grad.norm()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("height", "width", "side"), [(1, 1, 3), (2, 2, 5), (3, 2, 5), (4, 4, 5)]
)
def test_depthwise_on_small_maps_is_the_same_function(height, width, side, layout):
    """Outputs and both gradients are those of torch's convolution."""
    torch.manual_seed(0)
    theirs = nn.Conv2d(6, 6, side, padding=side // 2, groups=6, bias=False)
    ours = small_maps.like(copy.deepcopy(theirs), small_maps.Depthwise)
    maps = torch.randn(4, 6, height, width).to(memory_format=layout)
    found, expected = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    answers = ours(found), theirs(expected)
    for answer in answers:
        answer.square().sum().backward()

    assert torch.equal(*answers)
    assert torch.allclose(found.grad, expected.grad, atol=1e-5)
    assert torch.allclose(ours.weight.grad, theirs.weight.grad, atol=1e-4)


@pytest.mark.parametrize(("side", "stride", "size"), [(3, 2, 8), (5, 2, 9), (5, 1, 8)])
def test_slow_depthwise_convolutions_are_computed_in_float32(side, stride, size):
    """Under autocast the answer has its type, and is that of float32 rounded once."""
    torch.manual_seed(0)
    theirs = timm.layers.create_conv2d(
        6, 6, side, stride=stride, padding="same", depthwise=True
    )
    ours = small_maps.quick_on_small_maps(nn.Sequential(copy.deepcopy(theirs)))
    maps = torch.randn(4, 6, size, size)
    found, expected = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        answer = ours(found)
    exact = theirs(expected)
    for output in (answer.float(), exact):
        output.sum().backward()

    assert type(ours[0]) is not type(theirs)
    assert answer.dtype == torch.bfloat16
    assert torch.equal(answer, exact.bfloat16())
    assert torch.allclose(found.grad, expected.grad, atol=1e-6)
    assert torch.allclose(ours[0].weight.grad, theirs.weight.grad, atol=1e-5)


def test_quick_convolutions_take_the_place_of_what_they_compute():
    """Of EfficientNet-Lite's, all but the first, whose padding is TensorFlow's."""
    theirs = timm.create_model("tf_efficientnet_lite0", num_classes=3)
    ours = small_maps.quick_on_small_maps(copy.deepcopy(theirs))
    replaced = [m for m in ours.modules() if isinstance(m, small_maps.Depthwise)]
    products = [m for m in ours.modules() if isinstance(m, small_maps.Products)]
    strided = [m for m in ours.modules() if isinstance(m, small_maps.Strided)]

    assert (len(replaced), len(strided)) == (12, 4)
    assert all(m.stride == (1, 1) and m.groups == m.in_channels for m in replaced)
    assert len(products) == sum(
        type(m) is nn.Conv2d and m.groups == 1 for m in theirs.modules()
    )
    assert [*ours.state_dict()] == [*theirs.state_dict()]
    assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))


@pytest.mark.parametrize("model", ["lstm", "gru", "birnn", "deep_rnn"])
def test_recurrent_weights_keep_the_length_of_a_state(model):
    """Each gate's are orthogonal in every layer and direction, and drawn from the seed."""
    nets = [QUICK[model].training.build(1) for seed in (0, 0, 1) if torch.manual_seed(seed)]
    drawn = [[p for name, p in net.named_parameters() if "weight_hh" in name] for net in nets]
    for weight in drawn[0]:
        for gate in weight.detach().split(weight.shape[1]):
            assert torch.allclose(gate.T @ gate, torch.eye(len(gate)), atol=1e-5)

    assert all(map(torch.equal, drawn[0], drawn[1]))
    assert not any(map(torch.equal, drawn[0], drawn[2]))


SERIES = {
    (case.profile, case.training.model): case
    for case in discover(amlnn_models)
    if case.family == "rnn" and not case.variant
}


def forecaster(profile: str, model: str) -> tuple[nn.Module, Tensor]:
    """Return a fresh net of a profile, and random windows such as it reads."""
    training = SERIES[profile, model].training
    inputs, _ = one_batch(training)
    return training.build(1), inputs


@pytest.mark.parametrize("profile", ["quick", "seed", "lab", "full"])
@pytest.mark.parametrize("model", ["transformer", "tcn"])
def test_forecaster_is_about_as_large_as_the_lstm(model, profile):
    """It has as many weights as 50 LSTM cells within a fifth, whatever the window."""
    own, reference = (
        sum(p.numel() for p in forecaster(profile, name)[0].parameters())
        for name in (model, "lstm")
    )

    assert own == pytest.approx(reference, rel=0.2)


def test_layers_of_the_transformer_start_with_weights_of_their_own():
    """No layer is a copy of another one."""
    net, _ = forecaster("lab", "transformer")
    drawn = [p for p in net.layers.parameters() if p.ndim > 1]
    pairs = [(a, b) for a, b in combinations(drawn, 2) if a.shape == b.shape]

    assert len(pairs) >= 4
    assert not any(torch.equal(a, b) for a, b in pairs)


def test_every_point_attends_to_every_other():
    """In the transformer a point's channels follow from earlier and from later points."""
    net, windows = forecaster("lab", "transformer")
    points = net.embedding(windows).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(net.layers(points)[:, 7].sum(), points)

    assert (gradient.abs().sum((0, 2)) > 0).all()


def test_dropout_of_the_transformer_is_an_argument():
    """Left out it draws nothing in training; given, two passes differ."""
    build = SERIES["lab", "transformer"].training.build
    _, windows = forecaster("lab", "transformer")
    fixed, dropping = build(1).train(), build(1, dropout=0.1).train()

    assert torch.equal(fixed(windows), fixed(windows))
    assert not torch.equal(dropping(windows), dropping(windows))


@pytest.mark.parametrize("profile", ["quick", "lab"])
def test_convolutions_are_causal_and_see_the_whole_window(profile):
    """No point's channels follow from a later point; a forecast follows from every point."""
    net, windows = forecaster(profile, "tcn")
    windows.requires_grad_()
    window, middle = windows.shape[1], windows.shape[1] // 2

    def reached(outputs: Tensor) -> list[int]:
        (gradient,) = torch.autograd.grad(outputs.sum(), windows)
        return gradient.abs().sum((0, 2)).nonzero().flatten().tolist()

    assert reached(net.blocks(windows.mT)[..., middle]) == [*range(middle + 1)]
    assert reached(net(windows)) == [*range(window)]


def test_nlinear_follows_the_level_of_a_window():
    """A constant that is added to a window is added to its forecast."""
    net, windows = forecaster("lab", "nlinear")

    torch.testing.assert_close(net(windows + 3), net(windows) + 3)


@pytest.mark.parametrize("model", ["nlinear", "dlinear"])
def test_linear_forecaster_is_a_linear_map_of_the_window(model):
    """It is the sum of the points, each with a fixed weight, and a constant."""
    net, windows = forecaster("lab", model)
    window = windows.shape[1]
    with torch.no_grad():
        constant = net(torch.zeros(1, window, 1))
        weights = net(torch.eye(window)[..., None]) - constant
        expected = windows[..., 0] @ weights + constant
        found = net(windows)

    torch.testing.assert_close(found, expected)


def test_dlinear_maps_the_moving_average_of_25_points():
    """Its trend is the mean of 25 points around each, the window's ends repeated."""
    net, windows = forecaster("lab", "dlinear")
    nn.init.zeros_(net.remainder.weight)
    nn.init.zeros_(net.remainder.bias)
    ends = windows[:, :1, 0], windows[:, -1:, 0]
    repeated = torch.cat([ends[0].expand(-1, 12), windows[..., 0], ends[1].expand(-1, 12)], 1)
    trend = repeated.unfold(1, 25, 1).mean(2)

    torch.testing.assert_close(net(windows), net.trend(trend))
