"""What of a call is the batch, what its steps, and what an attempt leaves behind that the next must not meet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from layersmith.load.build import subject_of_class


class Steps(nn.Module):
    """Of one step a layer would take the rows of both inputs for its features."""

    def __init__(self, obs_dim: int = 12, act_dim: int = 3, width: int = 24) -> None:
        super().__init__()
        self.width = width
        self.enc, self.join = nn.Linear(obs_dim, 16), nn.Linear(16 + act_dim, width)
        self.cell = nn.GRUCell(width, width)

    def forward(self, obs: Tensor, act: Tensor) -> Tensor:
        emb = self.enc(obs)
        h = emb.new_zeros(obs.shape[0], self.width)
        for t in range(obs.shape[1]):
            h = self.cell(self.join(torch.cat([emb[:, t], act[:, t]], dim=-1)), h)
        return h


class Listed(nn.Module):
    """Of (B, T, D), (B, T, E) -> (B, T)."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x.mean(-1) + y.mean(-1)


class Stream(nn.Module):
    """What an attempt that failed has left of another width would be joined to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(8, 8, 5)
        self.last: Tensor | None = None

    def forward(self, chunk: Tensor) -> Tensor:
        last = chunk.new_zeros(chunk.shape[0], chunk.shape[1], 4) if self.last is None else self.last
        chunk = torch.cat([last, chunk], dim=-1)
        self.last = chunk[..., -4:]
        return self.conv(chunk)


class ValueLoss(nn.Module):
    """A loss that asks its own network; reward is (N,)."""

    def __init__(self, obs_dim: int = 8, act_dim: int = 2) -> None:
        super().__init__()
        self.net = nn.Linear(obs_dim + act_dim, 1)

    def forward(self, obs: Tensor, act: Tensor, reward: Tensor, next_obs: Tensor, next_act: Tensor) -> Tensor:
        value = self.net(torch.cat([obs, act], dim=-1)).squeeze(-1)
        later = self.net(torch.cat([next_obs, next_act], dim=-1)).squeeze(-1)
        return (value - reward - later).square().mean()


class Critic(nn.Module):
    def __init__(self, obs_dim: int = 5, act_dim: int = 2) -> None:
        super().__init__()
        self.net = nn.Linear(obs_dim + act_dim, 1)

    def forward(self, obs: Tensor, act: Tensor) -> Tensor:
        return self.net(torch.cat([obs, act], dim=-1)).squeeze(-1)


class CriticLoss(nn.Module):
    """A loss that asks networks which it is given; reward is (B,)."""

    def __init__(self, critic: Critic, target_critic: Critic) -> None:
        super().__init__()
        self.critic, self.target_critic = critic, target_critic

    def forward(self, obs: Tensor, act: Tensor, reward: Tensor, next_obs: Tensor, next_act: Tensor) -> Tensor:
        later = reward + self.target_critic(next_obs, next_act).detach()
        return (self.critic(obs, act) - later).square().mean()


class Routed(nn.Module):
    def __init__(self, dim: int = 16) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(dim, dim) for _ in range(3))

    def forward(self, x: Tensor, domain: Tensor) -> Tensor:
        out = torch.zeros_like(x)
        for k, expert in enumerate(self.experts):
            rows = (domain == k).nonzero(as_tuple=True)[0]
            out = out.index_add(0, rows, expert(x[rows]))
        return out


class Windows(nn.Module):
    """Two steps are too few to tell anything of the past and the future."""

    def __init__(self, dim: int = 32, window: int = 2) -> None:
        super().__init__()
        self.window, self.linear = window, nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).cumsum(1)[:, -self.window :]


def call(cls: type[nn.Module]) -> str:
    return subject_of_class(cls).inferred_from


class Crops(nn.Module):
    """Of as many steps as it cuts off, nothing is left."""

    def __init__(self, chomp_size: int) -> None:
        super().__init__()
        self.chomp_size = chomp_size

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, : -self.chomp_size].contiguous()


class Scores(nn.Module):
    """The loss of labels within a model."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(20, 8)
        self.loss = Contrast()

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.loss(self.net(x), labels)


class Contrast(nn.Module):
    """features: (N, D). labels: (N,)."""

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        same = labels[:, None] == labels[None, :]
        return -(features @ features.mT).log_softmax(1)[same].mean()


def test_rows_that_a_layer_takes_for_features_ask_for_another_rank() -> None:
    assert "(f32[5,7,12], f32[5,7,3])" in call(Steps)


def test_shapes_are_read_in_the_order_of_the_arguments() -> None:
    assert "f32[5,7," in call(Listed)


def test_a_failed_attempt_leaves_nothing_to_the_next() -> None:
    assert "(f32[5,8,11])" in call(Stream)


def test_a_loss_with_a_network_of_its_own_gets_what_that_takes() -> None:
    assert "(f32[5,8], f32[5,2], f32[5], f32[5,8], f32[5,2])" in call(ValueLoss)


def test_a_loss_gets_what_the_networks_take_that_it_is_given() -> None:
    assert "(f32[5,5], f32[5,2], f32[5], f32[5,5], f32[5,2])" in call(CriticLoss)


def test_what_is_compared_with_numbers_of_layers_is_one_of_them() -> None:
    assert "i64[5]<3" in call(Routed)


def test_windows_come_by_several() -> None:
    assert "f32[5,8,32]" in call(Windows)


def test_inputs_are_so_long_that_something_is_left() -> None:
    subject = subject_of_class(Crops)
    assert subject.inputs(0).call(subject.build(0)).numel()


def test_labels_that_a_model_hands_to_its_loss_are_whole_numbers() -> None:
    assert [one.dtype for one in subject_of_class(Scores).inputs(0).tensors()] == [torch.float32, torch.int64]


class PassesMessages(nn.Module):
    """Built for one feature of each edge, which its signature lets out."""

    def __init__(self, input_dim: int, hidden_nf: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(input_dim, hidden_nf)
        self.message = nn.Linear(2 * hidden_nf + 1, hidden_nf)

    def forward(self, nodes: Tensor, edges: Tensor, edge_attr: Tensor | None = None) -> Tensor:
        h = self.embedding(nodes)
        rows, cols = edges
        said = torch.cat([h[rows], h[cols]], dim=1)
        said = said if edge_attr is None else torch.cat([said, edge_attr], dim=1)
        return torch.zeros_like(h).index_add(0, rows, self.message(said))


def test_features_of_edges_are_given_where_layers_were_built_for_them() -> None:
    assert "edge_attr=f32[40,1]" in call(PassesMessages)
    assert not subject_of_class(PassesMessages).doubt
