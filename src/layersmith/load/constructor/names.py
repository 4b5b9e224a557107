"""Values for a parameter by its name: one consistent set of small sizes, in and out distinct.

The sizes fit together: heads divide every width, widths are at least 32 so that statistics mean something,
and no size equals the batch of the calls (5) or one of their free dimensions (primes).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

WIDTH = 32  # of a module that has one width: dim, d_model, embed_dim, channels
INPUT, HIDDEN, OUTPUT = 96, 48, 64  # of one that has several
HEADS, HEAD_WIDTH = 4, 8
BATCH = 5  # of the calls, for what is told it
SEVERAL = {INPUT, HIDDEN, OUTPUT}

_FEATURES = (
    r"(features?|feats?|dims?|sizes?|channels?|chan(nel)?s?|chs?|planes|width|units|nodes|neurons|c|nc|d|f)"
)

INDEX = re.compile(r"(^|_)(ind|idx|ind(ex|ice)(es|s)?)$")

_INTEGERS: list[tuple[str, list[Any]]] = [
    (r"(^|_)batch_?size$|^bsz?$", [BATCH]),
    (r"emb\w*_?(len|length|width)$", [WIDTH]),
    (r"(^|_)n_?fft$|(^|_)fft_?(size|len\w*)$|(^|_)win_?(size|len\w*)$", [64, 512]),
    (r"(^|_)hop_?(size|len\w*)$|^hop$", [16, 128]),  # of a window: at most as long as it
    (r"(kv|key_value).*heads?$|num_kv|n_kv", [2, 4]),
    (
        r"(^|_)(dim_?head|head_?dim|d_?head|head_size|head_width|d_[kqv]|d_kv|dim_?[kqv]|head_channels|per_head)s?$",
        [HEAD_WIDTH, WIDTH],
    ),
    (r"(^|_)n?_?heads?$|num_heads|nhead|n_head|attention_heads", [HEADS, 1]),
    (
        r"vocab|num_tokens|num_embeddings|n_words|n_?tokens?$|codebook_size|dictionary|num_emb(ed)?s?$|num_unique|num_types|num_entities|num_users|num_items|n_(src|trg|users|items)$",
        [100, 64],
    ),
    (
        r"pad_?(tok(en)?)?_?id|pad_?idx|padding_idx|^pad_?tok(en)?(_|$)|ignore_?index|mask_(token_)?id|(^|_)[be]os",
        [0, 1],
    ),
    (INDEX.pattern, [0, 1, 4]),
    (r"(^|_)n?bits?$", [4, 8]),
    (r"(num_|n_?)?class(es)?$|nclass|n_labels|num_labels|out_classes|num_outputs?_?class", [10, 2]),
    (r"^patch_?len(gth)?$", [4, 8]),
    (
        r"(^|_)seq(uence)?_?len(gth)?$|^(pred|context|label)_len$|num_(patches|points|frames)|n_(patches|frames)|^frames$|npoint",
        [24, 64, 16],
    ),
    (
        r"max_?(seq|pos|len|tokens|time)|maxlen|(block|context|ctx)_?(size|len|window)|n_ctx|n_positions?|num_pos|position_embeddings|_len$|_length$|^length$|max_period",
        [80, 64],
    ),
    (r"(^|_)(n|num)_?freqs?$|^multires|^max_freq", [4]),  # powers of two
    (r"spatial_?dims?$|^ndims?$|num_dims|^n_dims?$|^dimensions?$", [2, 3]),
    (
        r"(image|img|frame|fmap|feat|grid|sample|spatial)_?(size|resolution|shape|height|width|map_size|dim|h|w)s?$|resolution|^(h|w|height|width|size|im_size|img)$|crop",
        [32, 64, 8, 28, 48, 224],
    ),
    (
        r"(^|_)(img|image|rgb|picture)_?(channels?|chans?|ch|nc|c)$|^(in_chans|img_ch|nc)$|^(n|num)_colou?rs$",
        [3, 1],
    ),
    (r"^(rgb|value|data|dynamic)_range$", [1, 255]),
    (r"^(split_size|(n|num)_grids?|grid_num)$", [7, 4]),  # of YOLO, whose linear layer is for 7 x 7 cells
    (r"(^|_)(n|num)_?(b?box(es)?|anchors)$", [2, 3]),
    (r"patch", [4, 8]),
    (r"window|bucket|chunk|block_len|^ws$|nsample", [4, 8, 7]),
    (r"kernel|^ks?$|ksize|filter_?size|^kw|fsize|conv_?size|_k$", [3, 1, 5]),
    (r"stride|(^|_)splits?$", [1, 2]),
    (r"^p$|^pad$|padding", [1, 0]),
    (r"dilat|atrous", [1, 2]),
    (r"(num_?|n_?)groups?|groups?$|^g$|group_size", [4, 1, 8]),
    (r"per_tok(en)?$", [2]),
    (r"growth", [16, WIDTH]),
    (r"expert", [4]),
    (r"top_?k|^k$|radius", [2, 3]),
    (r"quantizers|codebooks|n_codes", [2]),
    (
        r"latent|^(nz|z|zdim)$|z_?(dim|size|channels)|noise_?(dim|size)|bottleneck_(dim|size)|code_(dim|size)",
        [24, WIDTH],
    ),
    (
        r"(num|n)_?(layers?|blocks?|stages?|levels?|steps?|iters?|repeats?|stacks?|res\w*|cells?|scales|hops|convs?|modules|flows?|coupling\w*)|depths?|layers?$|^n$|repeat|nlayers|blocks?$|levels?|(^|_)order",
        [2, 1, 3, 4],
    ),
    (r"(num|n)_?(nodes?|vert\w*|atoms|joints|agents)$", [24]),
    (
        rf"(^|_)(context|cond\w*|memory|cross\w*|encoder|time\w*|kv)_?(emb\w*_)?{_FEATURES}?$|^[kv]dim$",
        [HIDDEN, WIDTH],
    ),
    (
        rf"(^|_)(hidden|hid|inner|inter(mediate)?|mid|mlp|ff(n|w)?|feed_?forward|proj(ection)?|n?hid(den)?)_?{_FEATURES}?s?$|^(nhid|ngf|ndf|h_dim|d_ff|d_inner|dim_feedforward)$",
        [HIDDEN, WIDTH],
    ),
    (
        rf"(^|_)(in|inp|input|inputs|source|src|state|obs\w*)_?{_FEATURES}?$|^(c1|c_?in|d_?in|{_FEATURES}_in|n_?in|inplanes|n_?inputs?|num_inputs|in1_\w+|in2_\w+|nfeat|n_features|num_(node_)?features|feature_(dim|size))$",
        [INPUT, WIDTH, 3],
    ),
    (
        rf"(^|_)(out|outp|oup|output|outputs|target|tgt|action)_?{_FEATURES}?$|^(c2|c_?out|d_?out|{_FEATURES}_out|n_?out|planes|n_?outputs?|num_outputs|n_actions|num_actions|o)$",
        [OUTPUT, WIDTH],
    ),
    (
        rf"(^|_)(d_?model|n_?emb\w*|emb\w*|embedding_\w+|model|token|feature|base|{_FEATURES})_?{_FEATURES}?$|normalized_shape|(^|_)d$",
        [WIDTH, 64],
    ),
    (
        r"ratio|reduction|expan|factor|mult|scale|upscale|downs|squeeze|cardinality|^[rst]$|rate$|compress",
        [2, 4, 1, 16],
    ),
    (r"timesteps|num_steps|steps|^t_?max$", [10]),
    (r"^(lora_?)?rank$", [4, 1, 0]),
    (r"layer_?(idx|id|num|index|number)|^i$|rank|index|^level$|stage", [0, 1, 4]),
    (r"seed", [0]),
    (r"world_size|num_gpus|^tp$", [1]),
    (r"^(degree|knots)", [3]),
]
_FLOATS: list[tuple[str, list[Any]]] = [
    (r"drop|^p$|prob|rate|jitter", [0.0, 0.1]),
    (r"eps", [1e-5]),
    (
        r"^beta_(1|0|t|start|end|min|max)$",
        [0.02],
    ),  # of a noise schedule: of one nothing is left of the signal
    (r"quantile", [0.5]),
    (r"momentum", [0.1]),
    (r"ratio|mult|factor|expan", [4.0, 2.0, 1.0, 0.5]),
    (r"theta|base|freq", [10000.0]),
    (r"", [1.0, 0.5, 2.0, 0.1]),
]
_ANY_INTEGER = [WIDTH, 4, 1, 2, 3, 16, 64, 8]

_FLAG = re.compile(
    r"^(use|is|has|with|add|do|enable|apply|return|include|learn\w*|share|tie|norm_first|causal|affine|bidirectional|"
    r"residual|shortcut|pretrained|bias|batch_first|inplace|bilinear|verbose|training|deterministic|gated|flash|"
    rf"masked|only|normalize|requires|keep|cuda|gpu|(last|first)(?!_{_FEATURES}$))(_|$)|_bias$|pretrained|(^|_)flag|_(cuda|gpu)$"
)
_REAL = re.compile(
    r"drop|prob$|(^|_)eps|momentum|temperature|alpha(?!bet)|beta|gamma|lambda|tau|slope|theta|sigma|weight$|_rate$|"
    r"quantile|mlp_ratio|^p$|threshold|coef|init_value|margin|decay|min_|max_val|minval|maxval"
)
ACTIVATION = re.compile(r"(^|_)act(_?(fn|func|layer|type|cls|name|\d))?$|activation|non_?lin")
NORM = re.compile(
    r"(^|_)norm(_|$)|norm_?layer|normaliz(er|ation)|^bn$|batch_?norm|^norm(?!\w*(shape|size|dim|eps)$)"
)
MODULE = re.compile(
    r"(^|_)(fn|func|module|net|network|layer|block|model|encoder|decoder|backbone|base|attn|attention|ff|ffn|"
    r"feed_?forward|mlp|transformer|head|body|generator|discriminator|submodule|sublayer|embedder|embed|projector|"
    r"embedding|predictor|vae|unet|critic|actor|policy|conv|operator|op|transform|proj)$"
)
CONFIG = re.compile(
    r"^(args?|cfg|config|configs|conf|opts?|hps?|hparams|hyp|params|pars|flags|settings|hyper_?params|options|configuration|.*_(cfg|config|args|params))$"
)
SHAPE = re.compile(r"^(in|input|img|image|obs|observation|state|frame)_?shape$")
SHAPE_TAKEN_APART = re.compile(r"^(out|output|target)_?shape$|^(in|input|img|image|obs|state)_?dims$")
SHAPES = ((3, 32, 32), (1, 32, 32), (3, 84, 84), (WIDTH,))
TEXT = re.compile(r"(^|_)(mode|type|name|method|kind|arch|version|reduction)$")

_COMPARES = re.compile("Loss|Criterion|Metric|Error|Entropy")
WEIGHTS = re.compile(r"pretrain|weights|ckpt|checkpoint|(^|_)(load|path|file|download)(_|$)")

_BOUNDS = (("lb", "ub"), ("low", "high"), ("lower", "upper"), ("min", "max"), ("lo", "hi"))


def apart(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Lower bounds for those pairs of arguments that are not apart: `lb=1.0, ub=1.0`."""
    found: dict[str, Any] = {}
    for (low, high), name in itertools.product(_BOUNDS, chosen):
        word = re.compile(rf"(?<![a-z]){low}(?![a-z])")
        other = word.sub(high, name) if word.search(name) else ""
        value, limit = chosen[name], chosen.get(other)
        if isinstance(value, int | float) and isinstance(limit, int | float) and value >= limit:
            found[name] = limit - 1
    return found


def integers(name: str) -> list[Any]:
    """Whole numbers for a name, the likeliest first."""
    return known_integers(name) or list(_ANY_INTEGER)


def known_integers(name: str) -> list[Any]:
    """Whole numbers for a name that says something; none for one that does not."""
    return _first(_INTEGERS, plain(name))


def floats(name: str) -> list[Any]:
    """Real numbers for a name, the likeliest first."""
    return _first(_FLOATS, plain(name))


def is_flag(name: str) -> bool:
    """Whether the name is that of a boolean."""
    return bool(_FLAG.search(plain(name)))


def is_of_width(name: str, cls: type | None) -> bool:
    """Whether a `reduction` is that of a width: the class compares nothing."""
    return name == "reduction" and cls is not None and not _COMPARES.search(cls.__name__)


def is_real(name: str) -> bool:
    """Whether the name is that of a real number."""
    return bool(_REAL.search(plain(name))) and not re.search(r"^(dim|num)|dilat|atrous", plain(name))


def says_nothing(name: str) -> bool:
    """Whether the name is that of no number, text or module."""
    known = (ACTIVATION, NORM, MODULE, CONFIG, SHAPE, TEXT, re.compile("device|dtype"))
    return not (
        is_real(name) or known_integers(name) or any(pattern.search(plain(name)) for pattern in known)
    )


def texts(name: str) -> list[str]:
    """Strings for a name, the likeliest first."""
    known = [
        (ACTIVATION, ["relu", "gelu", "silu"]),
        (NORM, ["batch", "layer", "instance", "none"]),
        (re.compile("reduction"), ["mean", "sum", "none"]),
        (re.compile("mode"), ["nearest", "reflect", "bilinear", "mean", "fan_in"]),
        (re.compile("^pattern$"), ["b c h w -> b h w c", "b c h w -> b c"]),  # einops
        (re.compile("pad"), ["zeros", "same", "reflect"]),
        (re.compile("aggr"), ["mean", "add"]),
        (re.compile("device"), ["cpu"]),
    ]
    return next(
        (values for pattern, values in known if pattern.search(plain(name))), ["default", "mean", "none"]
    )


def plain(name: str) -> str:
    """The name without case and surrounding underscores."""
    return name.lower().strip("_")


def _first(rules: list[tuple[str, list[Any]]], name: str) -> list[Any]:
    return next((list(values) for pattern, values in rules if re.search(pattern, name)), [])
