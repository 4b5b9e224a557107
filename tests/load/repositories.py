"""Modules as repositories hold them: each is built and called unaided, with the ranks and dtypes of its real use."""
# ruff: noqa: ANN001, ANN002, ANN003, ANN201, ANN202, ANN204, N803, N812, RUF, PT018, E741, PLR0913, RUF007, F401
# mypy: ignore-errors

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


# --- residual networks with block classes ---------------------------------------------------------------------
class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, in_planes, planes, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != self.expansion * planes:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_planes, self.expansion * planes, 1, stride=stride, bias=False),
                nn.BatchNorm2d(planes),
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class ResNet(nn.Module):
    def __init__(self, block, num_blocks, num_classes=10):
        super().__init__()
        self.in_planes = 16
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.layer1 = self._make_layer(block, 16, num_blocks[0], stride=1)
        self.layer2 = self._make_layer(block, 32, num_blocks[1], stride=2)
        self.layer3 = self._make_layer(block, 64, num_blocks[2], stride=2)
        self.linear = nn.Linear(64 * block.expansion, num_classes)

    def _make_layer(self, block, planes, num_blocks, stride):
        layers = []
        for s in [stride] + [1] * (num_blocks - 1):
            layers.append(block(self.in_planes, planes, s))
            self.in_planes = planes * block.expansion
        return nn.Sequential(*layers)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(F.relu(self.conv1(x)))))
        x = F.avg_pool2d(x, x.size(3)).flatten(1)
        return self.linear(x)


class WideNet(nn.Module):
    """Its block class is chosen by the caller, and no caller stands in this file."""

    def __init__(self, block, layers, width=16):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*[block(width, width) for _ in range(layers)])

    def forward(self, x):
        return self.body(self.stem(x)).mean((2, 3))


# --- graphs ---------------------------------------------------------------------------------------------------
class GCNConv(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.lin = nn.Linear(in_channels, out_channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x, edge_index):
        row, col = edge_index
        deg = torch.zeros(x.size(0)).index_add_(0, col, torch.ones(col.size(0)))
        norm = deg.clamp(min=1)[row].rsqrt() * deg.clamp(min=1)[col].rsqrt()
        x = self.lin(x)
        out = torch.zeros_like(x).index_add_(0, col, norm[:, None] * x[row])
        return out + self.bias


class GCN(nn.Module):
    def __init__(self, nfeat, nhid, nclass, dropout=0.5):
        super().__init__()
        self.gc1 = GCNConv(nfeat, nhid)
        self.gc2 = GCNConv(nhid, nclass)
        self.dropout = dropout

    def forward(self, x, edge_index):
        x = F.relu(self.gc1(x, edge_index))
        x = F.dropout(x, self.dropout, training=self.training)
        return F.log_softmax(self.gc2(x, edge_index), dim=1)


class GraphNet(nn.Module):
    def __init__(self, in_dim, hidden_dim, out_dim):
        super().__init__()
        self.conv1, self.conv2 = GCNConv(in_dim, hidden_dim), GCNConv(hidden_dim, hidden_dim)
        self.head = nn.Linear(hidden_dim, out_dim)

    def forward(self, data):
        x, edge_index, batch = data.x, data.edge_index, data.batch
        x = F.relu(self.conv1(x, edge_index))
        x = F.relu(self.conv2(x, edge_index))
        n = int(batch.max()) + 1
        pooled = torch.zeros(n, x.size(1)).index_add_(0, batch, x)
        return self.head(pooled)


class EdgeMLP(nn.Module):
    def __init__(self, node_dim, edge_dim, hidden):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(2 * node_dim + edge_dim, hidden), nn.ReLU(), nn.Linear(hidden, edge_dim)
        )

    def forward(self, x, edge_index, edge_attr):
        src, dst = edge_index[0], edge_index[1]
        return edge_attr + self.mlp(torch.cat([x[src], x[dst], edge_attr], dim=-1))


class GraphAttention(nn.Module):
    def __init__(self, in_features, out_features, alpha=0.2):
        super().__init__()
        self.W = nn.Parameter(torch.empty(in_features, out_features))
        self.a = nn.Parameter(torch.empty(2 * out_features, 1))
        nn.init.xavier_uniform_(self.W)
        nn.init.xavier_uniform_(self.a)
        self.out_features, self.alpha = out_features, alpha

    def forward(self, h, adj):
        Wh = torch.mm(h, self.W)
        e = F.leaky_relu(Wh @ self.a[: self.out_features] + (Wh @ self.a[self.out_features :]).T, self.alpha)
        attention = torch.where(adj > 0, e, -9e15 * torch.ones_like(e)).softmax(dim=1)
        return F.elu(attention @ Wh)


# --- generative -----------------------------------------------------------------------------------------------
class Generator(nn.Module):
    def __init__(self, nz, ngf, nc):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 4, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 4),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 4, ngf, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf, nc, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, z):
        return self.main(z)


class LinearGenerator(nn.Module):
    def __init__(self, latent_dim, img_shape):
        super().__init__()
        self.img_shape = img_shape
        self.model = nn.Sequential(
            nn.Linear(latent_dim, 64), nn.LeakyReLU(0.2), nn.Linear(64, math.prod(img_shape)), nn.Tanh()
        )

    def forward(self, z):
        return self.model(z).view(z.size(0), *self.img_shape)


class Discriminator(nn.Module):
    def __init__(self, ndf=16, nc=3):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(nc, ndf, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(ndf, ndf * 2, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(ndf * 2, 1, 8),
        )

    def forward(self, x):
        return torch.sigmoid(self.main(x)).view(-1, 1)


class ConditionalDiscriminator(nn.Module):
    def __init__(self, num_classes, img_size):
        super().__init__()
        self.label_embedding = nn.Embedding(num_classes, img_size * img_size)
        self.img_size = img_size
        self.net = nn.Sequential(
            nn.Conv2d(4, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * (img_size // 2) ** 2, 1)
        )

    def forward(self, img, labels):
        maps = self.label_embedding(labels).view(-1, 1, self.img_size, self.img_size)
        return self.net(torch.cat([img, maps], 1))


class VAE(nn.Module):
    def __init__(self, input_dim=784, hidden_dim=64, latent_dim=8):
        super().__init__()
        self.input_dim = input_dim
        self.fc1 = nn.Linear(input_dim, hidden_dim)
        self.mu, self.logvar = nn.Linear(hidden_dim, latent_dim), nn.Linear(hidden_dim, latent_dim)
        self.dec = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, input_dim), nn.Sigmoid()
        )

    def reparameterize(self, mu, logvar):
        return mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)

    def forward(self, x):
        h = F.relu(self.fc1(x.view(-1, self.input_dim)))
        mu, logvar = self.mu(h), self.logvar(h)
        return self.dec(self.reparameterize(mu, logvar)), mu, logvar


class ConvVAE(nn.Module):
    def __init__(self, image_channels=3, z_dim=16):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(image_channels, 16, 4, 2), nn.ReLU(), nn.Conv2d(16, 32, 4, 2), nn.ReLU(), nn.Flatten()
        )
        self.fc = nn.Linear(32 * 6 * 6, 2 * z_dim)
        self.dec = nn.Linear(z_dim, image_channels * 28 * 28)
        self.image_channels = image_channels

    def forward(self, x):
        mu, logvar = self.fc(self.encoder(x)).chunk(2, dim=1)
        z = mu + (0.5 * logvar).exp() * torch.randn_like(mu)
        return self.dec(z).view(-1, self.image_channels, 28, 28), mu, logvar


class SinusoidalPosEmb(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, t):
        half = self.dim // 2
        freqs = torch.exp(torch.arange(half) * -(math.log(10000) / (half - 1)))
        args = t[:, None].float() * freqs[None, :]
        return torch.cat([args.sin(), args.cos()], dim=-1)


class TimeResBlock(nn.Module):
    def __init__(self, in_ch, out_ch, time_emb_dim):
        super().__init__()
        self.time = nn.Linear(time_emb_dim, out_ch)
        self.conv1 = nn.Sequential(nn.GroupNorm(4, in_ch), nn.SiLU(), nn.Conv2d(in_ch, out_ch, 3, padding=1))
        self.conv2 = nn.Sequential(
            nn.GroupNorm(4, out_ch), nn.SiLU(), nn.Conv2d(out_ch, out_ch, 3, padding=1)
        )
        self.skip = nn.Conv2d(in_ch, out_ch, 1)

    def forward(self, x, t):
        h = self.conv1(x) + self.time(t)[:, :, None, None]
        return self.conv2(h) + self.skip(x)


class DiffusionUNet(nn.Module):
    def __init__(self, in_ch=3, base=16, time_dim=32):
        super().__init__()
        self.embed = nn.Sequential(SinusoidalPosEmb(time_dim), nn.Linear(time_dim, time_dim), nn.SiLU())
        self.inc = nn.Conv2d(in_ch, base, 3, padding=1)
        self.down = TimeResBlock(base, 2 * base, time_dim)
        self.mid = TimeResBlock(2 * base, 2 * base, time_dim)
        self.up = TimeResBlock(3 * base, base, time_dim)
        self.out = nn.Conv2d(base, in_ch, 1)

    def forward(self, x, timesteps):
        t = self.embed(timesteps)
        x0 = self.inc(x)
        x1 = self.mid(self.down(F.max_pool2d(x0, 2), t), t)
        x1 = F.interpolate(x1, scale_factor=2)
        return self.out(self.up(torch.cat([x1, x0], 1), t))


# --- detection and segmentation -------------------------------------------------------------------------------
class FPN(nn.Module):
    def __init__(self, in_channels_list, out_channels):
        super().__init__()
        self.inner = nn.ModuleList(nn.Conv2d(c, out_channels, 1) for c in in_channels_list)
        self.layer = nn.ModuleList(
            nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in in_channels_list
        )

    def forward(self, features):
        last = self.inner[-1](features[-1])
        outs = [self.layer[-1](last)]
        for i in range(len(features) - 2, -1, -1):
            lateral = self.inner[i](features[i])
            last = lateral + F.interpolate(last, size=lateral.shape[-2:], mode="nearest")
            outs.insert(0, self.layer[i](last))
        return outs


class DetectionHead(nn.Module):
    def __init__(self, in_channels, num_anchors, num_classes):
        super().__init__()
        self.num_classes = num_classes
        self.cls = nn.Conv2d(in_channels, num_anchors * num_classes, 3, padding=1)
        self.box = nn.Conv2d(in_channels, num_anchors * 4, 3, padding=1)

    def forward(self, features):
        logits, boxes = [], []
        for f in features:
            logits.append(self.cls(f).permute(0, 2, 3, 1).reshape(f.size(0), -1, self.num_classes))
            boxes.append(self.box(f).permute(0, 2, 3, 1).reshape(f.size(0), -1, 4))
        return torch.cat(logits, 1), torch.cat(boxes, 1)


class YoloLayer(nn.Module):
    def __init__(self, anchors, num_classes):
        super().__init__()
        self.register_buffer("anchors", torch.tensor(anchors).float())
        self.na, self.no = len(anchors), num_classes + 5

    def forward(self, x):
        bs, _, ny, nx = x.shape
        x = x.view(bs, self.na, self.no, ny, nx).permute(0, 1, 3, 4, 2)
        y = x.sigmoid()
        wh = (y[..., 2:4] * 2) ** 2 * self.anchors.view(1, self.na, 1, 1, 2)
        return torch.cat([y[..., :2], wh, y[..., 4:]], -1).reshape(bs, -1, self.no)


class ASPP(nn.Module):
    def __init__(self, in_channels, atrous_rates, out_channels=32):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(in_channels, out_channels, 1)])
        for rate in atrous_rates:
            self.convs.append(nn.Conv2d(in_channels, out_channels, 3, padding=rate, dilation=rate))
        self.project = nn.Conv2d(len(self.convs) * out_channels, out_channels, 1)

    def forward(self, x):
        return self.project(torch.cat([conv(x) for conv in self.convs], dim=1))


class AttentionGate(nn.Module):
    def __init__(self, F_g, F_l, F_int):
        super().__init__()
        self.W_g = nn.Conv2d(F_g, F_int, 1)
        self.W_x = nn.Conv2d(F_l, F_int, 1)
        self.psi = nn.Sequential(nn.Conv2d(F_int, 1, 1), nn.Sigmoid())

    def forward(self, g, x):
        return x * self.psi(F.relu(self.W_g(g) + self.W_x(x)))


class Up(nn.Module):
    def __init__(self, in_channels, out_channels, bilinear=True):
        super().__init__()
        self.up = (
            nn.Upsample(scale_factor=2, mode="bilinear")
            if bilinear
            else nn.ConvTranspose2d(in_channels, in_channels // 2, 2, 2)
        )
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, x1, x2):
        x1 = self.up(x1)
        dy, dx = x2.size(2) - x1.size(2), x2.size(3) - x1.size(3)
        x1 = F.pad(x1, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return self.conv(torch.cat([x2, x1], dim=1))


# --- losses ---------------------------------------------------------------------------------------------------
class FocalLoss(nn.Module):
    def __init__(self, alpha=0.25, gamma=2.0, reduction="mean"):
        super().__init__()
        self.alpha, self.gamma, self.reduction = alpha, gamma, reduction

    def forward(self, inputs, targets):
        ce = F.cross_entropy(inputs, targets, reduction="none")
        pt = torch.exp(-ce)
        loss = self.alpha * (1 - pt) ** self.gamma * ce
        return loss.mean() if self.reduction == "mean" else loss.sum()


class GatherFocalLoss(nn.Module):
    def __init__(self, gamma=2):
        super().__init__()
        self.gamma = gamma

    def forward(self, input, target):
        logpt = F.log_softmax(input, dim=1).gather(1, target.view(-1, 1)).view(-1)
        return (-((1 - logpt.exp()) ** self.gamma) * logpt).mean()


class BinaryFocalLoss(nn.Module):
    def __init__(self, alpha=1, gamma=2):
        super().__init__()
        self.alpha, self.gamma = alpha, gamma

    def forward(self, pred, target):
        bce = F.binary_cross_entropy_with_logits(pred, target, reduction="none")
        return (self.alpha * (1 - torch.exp(-bce)) ** self.gamma * bce).mean()


class DiceLoss(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.n_classes = n_classes

    def _one_hot(self, target):
        return torch.stack([(target == i).float() for i in range(self.n_classes)], dim=1)

    def forward(self, inputs, target, softmax=True):
        inputs = torch.softmax(inputs, dim=1) if softmax else inputs
        target = self._one_hot(target)
        assert inputs.size() == target.size(), "predict & target shape do not match"
        inter = (inputs * target).sum((0, 2, 3))
        return 1 - (2 * inter / (inputs.sum((0, 2, 3)) + target.sum((0, 2, 3)))).mean()


class LabelSmoothing(nn.Module):
    def __init__(self, smoothing=0.1):
        super().__init__()
        self.smoothing = smoothing

    def forward(self, x, target):
        logprobs = F.log_softmax(x, dim=-1)
        nll = -logprobs.gather(dim=-1, index=target.unsqueeze(1)).squeeze(1)
        return ((1 - self.smoothing) * nll + self.smoothing * -logprobs.mean(dim=-1)).mean()


class SupConLoss(nn.Module):
    def __init__(self, temperature=0.07):
        super().__init__()
        self.temperature = temperature

    def forward(self, features, labels):
        features = F.normalize(features, dim=1)
        sim = features @ features.T / self.temperature
        mask = (labels[:, None] == labels[None, :]).float() - torch.eye(len(labels))
        logp = sim.log_softmax(1)
        return -(mask * logp).sum(1).mean()


class TripletLoss(nn.Module):
    def __init__(self, margin=1.0):
        super().__init__()
        self.margin = margin

    def forward(self, anchor, positive, negative):
        return F.relu(
            (anchor - positive).pow(2).sum(1) - (anchor - negative).pow(2).sum(1) + self.margin
        ).mean()


class CenterLoss(nn.Module):
    def __init__(self, num_classes=10, feat_dim=2):
        super().__init__()
        self.num_classes, self.feat_dim = num_classes, feat_dim
        self.centers = nn.Parameter(torch.randn(num_classes, feat_dim))

    def forward(self, x, labels):
        dist = torch.cdist(x, self.centers).pow(2)
        mask = labels.unsqueeze(1).expand(x.size(0), self.num_classes).eq(torch.arange(self.num_classes))
        return (dist * mask.float()).clamp(min=1e-12, max=1e12).sum() / x.size(0)


# --- recurrent ------------------------------------------------------------------------------------------------
class EncoderRNN(nn.Module):
    def __init__(self, input_size, hidden_size, dropout_p=0.1):
        super().__init__()
        self.embedding = nn.Embedding(input_size, hidden_size)
        self.gru = nn.GRU(hidden_size, hidden_size, batch_first=True)
        self.dropout = nn.Dropout(dropout_p)

    def forward(self, input):
        return self.gru(self.dropout(self.embedding(input)))


class BahdanauAttention(nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.Wa, self.Ua, self.Va = (
            nn.Linear(hidden_size, hidden_size),
            nn.Linear(hidden_size, hidden_size),
            nn.Linear(hidden_size, 1),
        )

    def forward(self, query, keys):
        scores = self.Va(torch.tanh(self.Wa(query) + self.Ua(keys))).squeeze(2).unsqueeze(1)
        weights = F.softmax(scores, dim=-1)
        return torch.bmm(weights, keys), weights


class DecoderStep(nn.Module):
    def __init__(self, output_dim, emb_dim, hid_dim):
        super().__init__()
        self.embedding = nn.Embedding(output_dim, emb_dim)
        self.rnn = nn.GRU(emb_dim, hid_dim)
        self.fc = nn.Linear(hid_dim, output_dim)

    def forward(self, input, hidden):
        embedded = self.embedding(input.unsqueeze(0))
        output, hidden = self.rnn(embedded, hidden)
        return self.fc(output.squeeze(0)), hidden


class Seq2Seq(nn.Module):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, src, trg):
        _, hidden = self.encoder(src)
        outs = []
        for t in range(trg.shape[1]):
            out, hidden = self.decoder(trg[:, t], hidden)
            outs.append(out)
        return torch.stack(outs, 1)


class LSTMTagger(nn.Module):
    def __init__(self, embedding_dim, hidden_dim, vocab_size, tagset_size):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, embedding_dim)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim)
        self.hidden2tag = nn.Linear(hidden_dim, tagset_size)

    def forward(self, sentence):
        embeds = self.word_embeddings(sentence)
        out, _ = self.lstm(embeds.view(len(sentence), 1, -1))
        return F.log_softmax(self.hidden2tag(out.view(len(sentence), -1)), dim=1)


class BagClassifier(nn.Module):
    def __init__(self, vocab_size, embed_dim, num_class):
        super().__init__()
        self.embedding = nn.EmbeddingBag(vocab_size, embed_dim)
        self.fc = nn.Linear(embed_dim, num_class)

    def forward(self, text, offsets):
        return self.fc(self.embedding(text, offsets))


class PackedClassifier(nn.Module):
    def __init__(self, vocab_size, embedding_dim, hidden_dim, output_dim, pad_idx):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=pad_idx)
        self.rnn = nn.LSTM(embedding_dim, hidden_dim, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(hidden_dim * 2, output_dim)

    def forward(self, text, text_lengths):
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(text), text_lengths, batch_first=True, enforce_sorted=False
        )
        _, (hidden, _) = self.rnn(packed)
        return self.fc(torch.cat((hidden[-2], hidden[-1]), dim=1))


class ConvLSTMCell(nn.Module):
    def __init__(self, input_dim, hidden_dim, kernel_size=(3, 3), bias=True):
        super().__init__()
        self.hidden_dim = hidden_dim
        padding = kernel_size[0] // 2, kernel_size[1] // 2
        self.conv = nn.Conv2d(input_dim + hidden_dim, 4 * hidden_dim, kernel_size, padding=padding, bias=bias)

    def forward(self, input_tensor, cur_state):
        h_cur, c_cur = cur_state
        i, f, o, g = torch.split(self.conv(torch.cat([input_tensor, h_cur], dim=1)), self.hidden_dim, dim=1)
        c = f.sigmoid() * c_cur + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


# --- transformers ---------------------------------------------------------------------------------------------
@dataclass
class GPTConfig:
    block_size: int = 256
    vocab_size: int = 50304
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    dropout: float = 0.0
    bias: bool = True


class CausalSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        assert config.n_embd % config.n_head == 0
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.n_head, self.n_embd = config.n_head, config.n_embd

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(self.n_embd, dim=2)
        q, k, v = (z.view(B, T, self.n_head, C // self.n_head).transpose(1, 2) for z in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C))


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.wte, self.wpe = (
            nn.Embedding(config.vocab_size, config.n_embd),
            nn.Embedding(config.block_size, config.n_embd),
        )
        self.h = nn.ModuleList([CausalSelfAttention(config) for _ in range(config.n_layer)])
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)

    def forward(self, idx, targets=None):
        b, t = idx.size()
        assert t <= self.config.block_size
        x = self.wte(idx) + self.wpe(torch.arange(t))
        for block in self.h:
            x = x + block(x)
        logits = self.head(x)
        loss = (
            None if targets is None else F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))
        )
        return logits, loss


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, dropout=0.1, max_len=5000):
        super().__init__()
        position = torch.arange(max_len).unsqueeze(1)
        div = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, 1, d_model)
        pe[:, 0, 0::2], pe[:, 0, 1::2] = torch.sin(position * div), torch.cos(position * div)
        self.register_buffer("pe", pe)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.dropout(x + self.pe[: x.size(0)])


class MaskedEncoder(nn.Module):
    def __init__(self, src_vocab_size, d_model, num_heads, num_layers, max_len=100):
        super().__init__()
        self.embed, self.pos = nn.Embedding(src_vocab_size, d_model), nn.Embedding(max_len, d_model)
        self.layers = nn.ModuleList(
            [
                nn.TransformerEncoderLayer(d_model, num_heads, 4 * d_model, batch_first=True)
                for _ in range(num_layers)
            ]
        )

    def forward(self, src, src_mask):
        x = self.embed(src) + self.pos(torch.arange(src.shape[1]))
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=src_mask)
        return x


class ScaledDotProduct(nn.Module):
    def __init__(self, d_k):
        super().__init__()
        self.d_k = d_k

    def forward(self, Q, K, V, attn_mask):
        scores = torch.matmul(Q, K.transpose(-1, -2)) / math.sqrt(self.d_k)
        scores.masked_fill_(attn_mask, -1e9)
        attn = scores.softmax(-1)
        return torch.matmul(attn, V), attn


class PatchEmbed(nn.Module):
    def __init__(self, img_size=32, patch_size=4, in_chans=3, embed_dim=32):
        super().__init__()
        self.img_size = img_size
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, patch_size)

    def forward(self, x):
        B, C, H, W = x.shape
        assert self.img_size == H and self.img_size == W, (
            f"Input image size ({H}*{W}) doesn't match model ({self.img_size})."
        )
        return self.proj(x).flatten(2).transpose(1, 2)


class WindowAttention(nn.Module):
    def __init__(self, dim, window_size, num_heads):
        super().__init__()
        self.window_size, self.num_heads = window_size, num_heads
        self.table = nn.Parameter(torch.zeros((2 * window_size[0] - 1) * (2 * window_size[1] - 1), num_heads))
        coords = torch.stack(
            torch.meshgrid(torch.arange(window_size[0]), torch.arange(window_size[1]), indexing="ij")
        ).flatten(1)
        rel = (coords[:, :, None] - coords[:, None, :]).permute(1, 2, 0).contiguous()
        rel[:, :, 0] += window_size[0] - 1
        rel[:, :, 1] += window_size[1] - 1
        rel[:, :, 0] *= 2 * window_size[1] - 1
        self.register_buffer("index", rel.sum(-1))
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x, mask=None):
        B_, N, C = x.shape
        q, k, v = self.qkv(x).reshape(B_, N, 3, self.num_heads, C // self.num_heads).permute(2, 0, 3, 1, 4)
        attn = q @ k.transpose(-2, -1)
        bias = self.table[self.index.view(-1)].view(
            self.window_size[0] * self.window_size[1], self.window_size[0] * self.window_size[1], -1
        )
        attn = (attn + bias.permute(2, 0, 1).unsqueeze(0)).softmax(-1)
        return self.proj((attn @ v).transpose(1, 2).reshape(B_, N, C))


class PatchMerging(nn.Module):
    def __init__(self, input_resolution, dim):
        super().__init__()
        self.input_resolution = input_resolution
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)
        self.norm = nn.LayerNorm(4 * dim)

    def forward(self, x):
        H, W = self.input_resolution
        B, L, C = x.shape
        assert L == H * W, "input feature has wrong size"
        x = x.view(B, H, W, C)
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1).view(
            B, -1, 4 * C
        )
        return self.reduction(self.norm(x))


class MixFFN(nn.Module):
    """Tokens of a map whose height and width are told beside."""

    def __init__(self, dim, hidden_dim):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden_dim), nn.Linear(hidden_dim, dim)
        self.dwconv = nn.Conv2d(hidden_dim, hidden_dim, 3, padding=1, groups=hidden_dim)

    def forward(self, x, H, W):
        x = self.fc1(x)
        B, N, C = x.shape
        x = self.dwconv(x.transpose(1, 2).view(B, C, H, W)).flatten(2).transpose(1, 2)
        return self.fc2(F.gelu(x))


class DictModel(nn.Module):
    def __init__(self, vocab_size, hidden_size, num_labels):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, hidden_size)
        self.classifier = nn.Linear(hidden_size, num_labels)

    def forward(self, batch):
        x = self.embed(batch["input_ids"]) * batch["attention_mask"].unsqueeze(-1)
        return self.classifier(x.sum(1) / batch["attention_mask"].sum(1, keepdim=True).clamp(min=1))


# --- fields, points, recommenders, reinforcement --------------------------------------------------------------
class NeRF(nn.Module):
    def __init__(self, D=4, W=64, input_ch=3, input_ch_views=3, skips=(2,)):
        super().__init__()
        self.input_ch, self.input_ch_views, self.skips = input_ch, input_ch_views, skips
        self.pts = nn.ModuleList(
            [nn.Linear(input_ch, W)] + [nn.Linear(W + input_ch if i in skips else W, W) for i in range(D - 1)]
        )
        self.views = nn.Linear(input_ch_views + W, W // 2)
        self.rgb, self.alpha = nn.Linear(W // 2, 3), nn.Linear(W, 1)

    def forward(self, x):
        pts, views = torch.split(x, [self.input_ch, self.input_ch_views], dim=-1)
        h = pts
        for i, layer in enumerate(self.pts):
            h = F.relu(layer(h))
            if i in self.skips:
                h = torch.cat([pts, h], -1)
        v = F.relu(self.views(torch.cat([h, views], -1)))
        return torch.cat([self.rgb(v), self.alpha(h)], -1)


class FourierFeatures(nn.Module):
    def __init__(self, num_input_channels, mapping_size=32, scale=10):
        super().__init__()
        self.n = num_input_channels
        self.register_buffer("B", torch.randn(num_input_channels, mapping_size) * scale)

    def forward(self, x):
        assert x.dim() == 4, f"Expected 4D input (got {x.dim()}D input)"
        b, c, w, h = x.shape
        assert c == self.n, f"Expected input to have {self.n} channels (got {c} channels)"
        x = (x.permute(0, 2, 3, 1).reshape(b * w * h, c) @ self.B).view(b, w, h, -1).permute(0, 3, 1, 2)
        return torch.cat([torch.sin(2 * math.pi * x), torch.cos(2 * math.pi * x)], dim=1)


class TNet(nn.Module):
    def __init__(self, k=3):
        super().__init__()
        self.k = k
        self.conv, self.fc = nn.Conv1d(k, 32, 1), nn.Linear(32, k * k)

    def forward(self, x):
        h = torch.max(F.relu(self.conv(x)), 2)[0]
        return self.fc(h).view(-1, self.k, self.k) + torch.eye(self.k)


class MatrixFactorization(nn.Module):
    def __init__(self, n_users, n_items, n_factors=20):
        super().__init__()
        self.user, self.item = nn.Embedding(n_users, n_factors), nn.Embedding(n_items, n_factors)

    def forward(self, user, item):
        return (self.user(user) * self.item(item)).sum(1)


class Critic(nn.Module):
    def __init__(self, state_dim, action_dim, hidden=64):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(state_dim + action_dim, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, state, action):
        return self.net(torch.cat([state, action], dim=1))


class ActorCritic(nn.Module):
    def __init__(self, obs_dim, n_actions):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(obs_dim, 64), nn.Tanh())
        self.pi, self.v = nn.Linear(64, n_actions), nn.Linear(64, 1)

    def forward(self, obs):
        h = self.body(obs)
        return F.softmax(self.pi(h), dim=-1), self.v(h)


class DeepFM(nn.Module):
    def __init__(self, field_dims, embed_dim):
        super().__init__()
        self.register_buffer(
            "offsets", torch.tensor([0, *torch.cumsum(torch.tensor(field_dims), 0)[:-1].tolist()])
        )
        self.embedding = nn.Embedding(sum(field_dims), embed_dim)
        self.mlp = nn.Linear(len(field_dims) * embed_dim, 1)

    def forward(self, x):
        e = self.embedding(x + self.offsets)
        return torch.sigmoid(self.mlp(e.flatten(1)).squeeze(1))


class TemporalBlock(nn.Module):
    def __init__(self, n_inputs, n_outputs, kernel_size, stride, dilation, padding, dropout=0.2):
        super().__init__()
        self.conv = nn.Conv1d(
            n_inputs, n_outputs, kernel_size, stride=stride, padding=padding, dilation=dilation
        )
        self.chomp, self.down = padding, nn.Conv1d(n_inputs, n_outputs, 1) if n_inputs != n_outputs else None

    def forward(self, x):
        out = F.relu(self.conv(x)[:, :, : -self.chomp].contiguous())
        return F.relu(out + (x if self.down is None else self.down(x)))


class TCN(nn.Module):
    def __init__(self, num_inputs, num_channels, kernel_size=2):
        super().__init__()
        layers = []
        for i, out in enumerate(num_channels):
            d = 2**i
            layers.append(
                TemporalBlock(
                    num_inputs if i == 0 else num_channels[i - 1],
                    out,
                    kernel_size,
                    1,
                    d,
                    (kernel_size - 1) * d,
                )
            )
        self.network = nn.Sequential(*layers)

    def forward(self, x):
        return self.network(x)


class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(1, 8, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * 22 * 22, 32),
        )

    def forward(self, input1, input2):
        return self.cnn(input1), self.cnn(input2)


class Lenet300(nn.Module):
    def __init__(self):
        super().__init__()
        self.l1, self.l2 = nn.Linear(28 * 28, 300), nn.Linear(300, 10)

    def forward(self, x):
        x = x.reshape(x.shape[0], -1)
        return self.l2(F.relu(self.l1(x)))


class Residual(nn.Module):
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, x, *args, **kwargs):
        return self.fn(x, *args, **kwargs) + x


class PreNorm(nn.Module):
    def __init__(self, dim, fn):
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(dim), fn

    def forward(self, x, **kwargs):
        return self.fn(self.norm(x), **kwargs)


class Downsampler(nn.Module):
    """Feature maps by name."""

    def __init__(self, channels=32):
        super().__init__()
        self.low, self.high = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, features):
        return self.low(features["res2"]) + F.interpolate(
            self.high(features["res3"]), size=features["res2"].shape[-2:]
        )


# What real use is: rank (0: no tensor) and i(nteger), f(loat) or b(ool) of every argument; a tuple in a container.
REAL = {
    "BasicBlock": "4f",
    "ResNet": "4f",
    "WideNet": "4f",
    "GCNConv": "2f 2i",
    "GCN": "2f 2i",
    "GraphNet": "(1i",
    "EdgeMLP": "2f 2i 2f",
    "GraphAttention": "2f 2*",
    "Generator": "4f",
    "LinearGenerator": "2f",
    "Discriminator": "4f",
    "ConditionalDiscriminator": "4f 1i",
    "VAE": "*f",
    "ConvVAE": "4f",
    "SinusoidalPosEmb": "1*",
    "TimeResBlock": "4f 2f",
    "DiffusionUNet": "4f 1*",
    "FPN": "(4f",
    "DetectionHead": "(4f",
    "YoloLayer": "4f",
    "ASPP": "4f",
    "AttentionGate": "4f 4f",
    "Up": "4f 4f",
    "FocalLoss": "*f *i",
    "GatherFocalLoss": "2f 1i",
    "BinaryFocalLoss": "*f *f",
    "DiceLoss": "4f 3i",
    "LabelSmoothing": "2f 1i",
    "SupConLoss": "2f 1i",
    "TripletLoss": "2f 2f 2f",
    "CenterLoss": "2f 1i",
    "EncoderRNN": "2i",
    "BahdanauAttention": "3f 3f",
    "DecoderStep": "1i 3f",
    "Seq2Seq": "2i 2i",
    "LSTMTagger": "1i",
    "BagClassifier": "1i 1i",
    "PackedClassifier": "2i 1i",
    "ConvLSTMCell": "4f (4f",
    "CausalSelfAttention": "3f",
    "GPT": "2i",
    "PositionalEncoding": "3f",
    "MaskedEncoder": "2i 2b",
    "ScaledDotProduct": "*f *f *f *b",
    "PatchEmbed": "4f",
    "WindowAttention": "3f",
    "PatchMerging": "3f",
    "MixFFN": "3f 0 0",
    "DictModel": "(2i",
    "NeRF": "2f",
    "FourierFeatures": "4f",
    "TNet": "3f",
    "MatrixFactorization": "1i 1i",
    "Critic": "2f 2f",
    "ActorCritic": "2f",
    "DeepFM": "2i",
    "TemporalBlock": "3f",
    "TCN": "3f",
    "Siamese": "4f 4f",
    "Lenet300": "*f",
    "Residual": "*f",
    "PreNorm": "3f",
    "Downsampler": "(4f",
}
