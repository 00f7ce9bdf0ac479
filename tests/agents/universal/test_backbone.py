"""The language model with a shared instruction: against transformers' own models, and the symmetries it promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import torch
from torch import Tensor
from wirelessgym.agents.universal.backbone import Backbone

from wirelessgym.io import sha256
from wirelessgym.learned import seeded

WIDTH, LAYERS, SEQUENCES, TOKENS = 32, 3, 5, 6
WORDS = "serve all users well"
KINDS = ("llama", "gpt2", "qwen3", "gemma2")  # grouped heads; one product for q, k, v; normalised heads; bounded products


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small language models with random weights, as Hugging Face folders."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({word: i for i, word in enumerate(["?", *WORDS.split(), "other"])}, unk_token="?"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="?")
    sizes: dict[str, Any] = {"vocab_size": 40, "num_hidden_layers": LAYERS, "bos_token_id": 1, "eos_token_id": 1}
    gpt2 = {"n_embd": WIDTH, "n_head": 4, "n_positions": 64}
    other = {"hidden_size": WIDTH, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    found = {}
    for kind in KINDS:
        # Weights large enough that attention is far from uniform.
        config = AutoConfig.for_model(kind, **sizes, initializer_range=0.3, **(gpt2 if kind == "gpt2" else other))
        with seeded(0):
            model = AutoModelForCausalLM.from_config(config)
        found[kind] = tmp_path_factory.mktemp(kind)
        model.save_pretrained(found[kind])
        tokenizer.save_pretrained(found[kind])
    return found


def built(folder: Path, **options: Any) -> Backbone:
    """A backbone in float32 whose adapters do something."""
    with seeded(1):
        backbone = Backbone(str(folder), **{"dtype": "float32", "rank": 2, **options})
        for name, parameter in backbone.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    return backbone


def data(seed: int = 2, sequences: int = SEQUENCES, tokens: int = TOKENS) -> Tensor:
    return torch.randn(sequences, tokens, WIDTH, generator=torch.Generator().manual_seed(seed))


def close(first: Tensor, second: Tensor, tolerance: float = 2e-5) -> bool:
    return bool((first - second).abs().max() <= tolerance * second.abs().max())


def gradients(backbone: Backbone, tokens: Tensor, **options: Any) -> dict[str, Tensor]:
    backbone.zero_grad()
    tokens = tokens.clone().requires_grad_()
    backbone(WORDS, tokens, **options)[:, 1:].sin().sum().backward()
    assert tokens.grad is not None
    return {"tokens": tokens.grad, **{n: p.grad for n, p in backbone.named_parameters() if p.grad is not None}}


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_a_series_behind_an_instruction_runs_as_in_the_library(folders: dict[str, Path], kind: str, shared: bool) -> None:
    from transformers import AutoModel

    backbone = built(folders[kind], rank=0)
    backbone.shared = shared
    library = AutoModel.from_pretrained(folders[kind], dtype=torch.float32, attn_implementation="eager").eval()
    words = library.get_input_embeddings()(torch.tensor([1, 2, 3, 4])).expand(SEQUENCES, -1, -1)
    with torch.no_grad():
        expected = library(inputs_embeds=torch.cat([words, data()], 1)).last_hidden_state[:, 4:]
        alone = library(inputs_embeds=data()).last_hidden_state
        assert close(backbone(WORDS, data(), ordered=True), expected)
        assert close(backbone("", data(), ordered=True), alone)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_sharing_changes_neither_results_nor_gradients(folders: dict[str, Path], kind: str, ordered: bool, masked: bool) -> None:
    backbone = built(folders[kind], prefix_tokens=2)
    mask = torch.rand(SEQUENCES, TOKENS, generator=torch.Generator().manual_seed(3)) < 0.6 if masked else None
    results, slopes = [], []
    for backbone.shared in (True, False):
        results.append(backbone(WORDS, data(), ordered, mask).detach())
        slopes.append(gradients(backbone, data(), ordered=ordered, mask=mask))
    assert close(*results)
    assert slopes[0].keys() == slopes[1].keys()
    assert {"tokens", "prefix"} < slopes[0].keys()
    assert sum("lora_" in name for name in slopes[0]) == 2 * LAYERS * (1 if kind == "gpt2" else 2)
    for name, slope in slopes[0].items():
        assert close(slope, slopes[1][name], 1e-4), name


@pytest.mark.parametrize("words", [WORDS, ""])
@pytest.mark.parametrize("kind", KINDS)
def test_permuting_a_set_permutes_the_result(folders: dict[str, Path], kind: str, words: str) -> None:
    backbone, order = built(folders[kind]), torch.randperm(TOKENS, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        assert close(backbone(words, data()[:, order]), backbone(words, data())[:, order])
        assert not close(backbone(words, data()[:, order], ordered=True), backbone(words, data(), ordered=True)[:, order], 1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_of_a_series_sees_those_before_it_and_one_of_a_set_sees_all(folders: dict[str, Path], kind: str) -> None:
    backbone, tokens, last = built(folders[kind]), data(), data()
    last[:, -1, 0] += 3.0  # one feature: layer normalisation takes out what all have in common
    with torch.no_grad():
        for ordered in (False, True):
            change = (backbone(WORDS, last, ordered) - backbone(WORDS, tokens, ordered)).abs().amax((0, 2))
            assert (change[:-1] > 1e-3).all() != ordered
            assert (change[:-1] == 0).all() == ordered
            assert change[-1] > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_every_token_sees_the_instruction_and_sequences_never_see_each_other(folders: dict[str, Path], kind: str) -> None:
    backbone = built(folders[kind])
    with torch.no_grad():
        one, other = backbone(WORDS, data()), backbone("other " + WORDS, data())
        assert ((one - other).abs().amax(-1) > 1e-3).all()
        assert close(backbone(WORDS, data()[1:3]), one[1:3])


def test_tokens_that_are_not_there_change_nothing_for_the_others(folders: dict[str, Path]) -> None:
    backbone, mask = built(folders["llama"]), torch.arange(TOKENS) < 4
    with torch.no_grad():
        masked = backbone(WORDS, data(), mask=mask.expand(SEQUENCES, -1))
        assert close(masked[:, :4], backbone(WORDS, data()[:, :4]))
        assert masked.isfinite().all()


def test_the_first_layers_are_those_of_the_whole_model(folders: dict[str, Path]) -> None:
    from transformers import AutoModel

    library = AutoModel.from_pretrained(folders["llama"], dtype=torch.float32).eval()
    backbone = built(folders["llama"], rank=0, layers=2)
    with torch.no_grad():
        hidden = library(inputs_embeds=data(), output_hidden_states=True).hidden_states[2]
        assert close(backbone("", data(), ordered=True), library.norm(hidden))
    assert backbone.identity["layers"] == 2


def test_only_adapters_and_prefix_learn_in_single_precision_over_a_bfloat16_base(folders: dict[str, Path]) -> None:
    backbone, exact = (built(folders["llama"], dtype=dtype, prefix_tokens=3) for dtype in ("bfloat16", "float32"))
    trained = {name: p for name, p in backbone.named_parameters() if p.requires_grad}
    assert all("lora_" in name or name == "prefix" for name in trained)
    assert {p.dtype for p in trained.values()} == {torch.float32}
    assert {p.dtype for p in backbone.parameters() if not p.requires_grad} == {torch.bfloat16}
    assert sum(p.numel() for p in trained.values()) == 2 * LAYERS * ((WIDTH + WIDTH) + (WIDTH + WIDTH // 2)) + 3 * WIDTH
    result = backbone(WORDS, data())
    assert result.dtype == torch.float32
    assert close(result, exact(WORDS, data()), 0.1)
    result.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained.values())


def test_without_rank_nothing_is_trained_and_gradients_still_reach_the_tokens(folders: dict[str, Path]) -> None:
    backbone, tokens = built(folders["llama"], rank=0).train(), data().requires_grad_()
    assert not backbone.state_dict()
    backbone(WORDS, tokens).square().sum().backward()
    assert (tokens.grad.abs().amax(-1) > 0).all()


class Reads:
    """Counts how often an instruction is run through the model."""

    def __init__(self, backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count, read = 0, backbone._read

        def counted(*args: Any) -> Any:
            self.count += 1
            return read(*args)

        monkeypatch.setattr(backbone, "_read", counted)


def test_without_gradients_an_instruction_is_read_once(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = built(folders["llama"]).eval()
    reads = Reads(backbone, monkeypatch)
    with torch.no_grad():
        for seed in range(3):
            backbone(WORDS, data(seed))
            backbone("other", data(seed))
    assert reads.count == 2
    # An agent acts in evaluation mode and puts training mode back each time: that alone changes no weight.
    for _ in range(3):
        backbone.eval()
        with torch.no_grad():
            backbone(WORDS, data())
        backbone.train()
    assert reads.count == 2
    backbone(WORDS, data())
    assert reads.count == 3, "training reads it with gradients"


@pytest.mark.parametrize("change", ["sgd", "fused adamw", "foreach adamw", "load", "copy", "replace", "prefix", "double"])
def test_what_is_remembered_of_an_instruction_is_forgotten_when_weights_change(folders: dict[str, Path], change: str) -> None:
    backbone = built(folders["llama"], prefix_tokens=1).eval()
    trained = [p for p in backbone.parameters() if p.requires_grad]
    with torch.no_grad():
        before = backbone(WORDS, data())
    if change in ("sgd", "fused adamw", "foreach adamw"):
        for p in trained:  # gradients come without a run of the model, which would forget by itself
            p.grad = torch.ones_like(p)
        if change == "sgd":
            torch.optim.SGD(trained, lr=0.1).step()
        else:
            torch.optim.AdamW(trained, lr=0.1, **{change.split()[0]: True}).step()
    elif change == "load":
        backbone.load_state_dict({name: value + 0.1 for name, value in backbone.state_dict().items()})
    elif change == "double":
        backbone.double()
    with torch.no_grad():
        if change == "copy":
            trained[0].copy_(trained[0] + 0.1)
        elif change == "replace":
            trained[0].data = trained[0] + 0.1
        elif change == "prefix":
            backbone.prefix.add_(0.1)
        after = backbone(WORDS, data())
        backbone._forget()
        assert torch.equal(after, backbone(WORDS, data()))
    if change != "double":
        assert not close(before, after, 1e-3)


def test_what_inference_mode_remembers_serves_training_without_adapters(folders: dict[str, Path]) -> None:
    backbone, tokens = built(folders["llama"], rank=0).eval(), data().requires_grad_()
    with torch.inference_mode():
        backbone(WORDS, data())
    backbone.train()(WORDS, tokens).sum().backward()
    assert tokens.grad is not None


def test_a_checkpoint_holds_what_was_trained_and_fits_the_same_base_only(folders: dict[str, Path]) -> None:
    trained, fresh = (
        built(folders["llama"], prefix_tokens=1),
        Backbone(str(folders["llama"]), dtype="float32", rank=2, prefix_tokens=1),
    )
    state = trained.state_dict()
    assert set(state) == {name for name, p in trained.named_parameters() if p.requires_grad}
    holder = torch.nn.ModuleDict({"backbone": fresh})
    holder.load_state_dict({f"backbone.{name}": value for name, value in state.items()})
    with torch.no_grad():
        assert torch.equal(fresh(WORDS, data()), trained(WORDS, data()))
    assert set(holder.state_dict()) == {f"backbone.{name}" for name in state}
    del state["prefix"]
    with pytest.raises(RuntimeError, match=r"Missing key.*prefix"):
        fresh.load_state_dict(state)


def test_identity_tells_base_weights_apart(folders: dict[str, Path]) -> None:
    folder = folders["llama"]
    identity = built(folder, layers=1).identity
    assert identity == {
        "name": str(folder), "layers": 1, "architecture": "llama, width 32, 3 layers", "dtype": "float32", "quantisation": None,
        "sha256": sha256(folder / "model.safetensors"), "seed": None,
    }  # fmt: skip


def test_other_processes_get_the_same_agent(folders: dict[str, Path], tmp_path: Path) -> None:
    backbone = built(folders["gpt2"]).eval()
    with torch.no_grad():
        expected = backbone(WORDS, data())
    assert backbone._remembered
    (tmp_path / "pickle").write_bytes(cloudpickle.dumps(backbone))
    torch.save((data(), expected), tmp_path / "tensors")
    code = (
        "import pickle, sys, torch, pathlib; here = pathlib.Path(sys.argv[1]);"
        "import wirelessgym.agents; backbone = pickle.loads((here / 'pickle').read_bytes());"
        "tokens, expected = torch.load(here / 'tensors');"
        f"assert not backbone._remembered; torch.testing.assert_close(backbone({WORDS!r}, tokens), expected)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


def test_transformers_is_imported_only_when_a_model_is_built() -> None:
    code = (
        "import sys; import wirelessgym.agents.universal.backbone, wirelessgym.agents.universal.instruction;"
        "assert not {'transformers', 'peft', 'bitsandbytes'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_building_leaves_transformers_messages_as_they_were(folders: dict[str, Path], capfd: pytest.CaptureFixture[str]) -> None:
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    built(folders["llama"], layers=1)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (level, bars)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["random", "gpt2-random"])
def test_random_weights_follow_the_seed_alone_and_need_no_files(name: str) -> None:
    def one(seed: int, draws: int) -> Backbone:
        with seeded(seed):
            torch.randn(draws)
            backbone = Backbone(name, layers=1, rank=0)
            assert backbone.identity["seed"] == seed
            return backbone

    first, again, other = one(5, 0), one(5, 3), one(6, 0)
    tokens = torch.randn(2, 3, first.width, generator=torch.Generator().manual_seed(0))
    assert first.width == {"random": 576, "gpt2-random": 768}[name]
    with torch.no_grad():
        assert torch.equal(first(WORDS, tokens), again(WORDS, tokens))
        assert not close(first(WORDS, tokens), other(WORDS, tokens), 0.1)
        assert not torch.equal(first(WORDS, tokens), first("serve users", tokens))
    assert first.identity["sha256"] == ""


def test_loftq_comes_nearer_to_the_full_model_than_plain_rounding(folders: dict[str, Path]) -> None:
    for kind in ("llama", "gpt2"):
        options = {"targets": ("q_proj", "k_proj", "v_proj"), "alpha": 16, "rank": 8}
        full, plain, loftq = (
            Backbone(str(folders[kind]), dtype="float32", quantisation=q, **options) for q in (None, "nf4", "loftq")
        )
        rounded = [m for m in plain.decoder.modules() if type(m).__name__ == "NF4Linear"]
        assert len(rounded) == LAYERS * {"llama": 7, "gpt2": 4}[kind]
        for codes, scales in ((m.codes, m.scales) for m in rounded):
            assert codes.numel() == 32 * scales.numel(), "two weights a byte, 64 a scale"
        with torch.no_grad():
            exact = full(WORDS, data())
            errors = [(backbone(WORDS, data()) - exact).norm() / exact.norm() for backbone in (plain, loftq)]
        assert 0.01 < errors[1] < 0.9 * errors[0] < 1
        assert set(loftq.state_dict()) == set(full.state_dict())


def test_loftq_gives_its_layers_what_rounding_took_whatever_the_scale(folders: dict[str, Path]) -> None:
    from wirelessgym.agents.universal.nf4 import dequantise, loftq

    full = Backbone(str(folders["llama"]), dtype="float32", rank=0).decoder.layers[0].self_attn.q_proj
    quantised, a, b = loftq(full.weight, 4)
    x = data()
    for alpha in (1, 4, 32):
        split = Backbone(str(folders["llama"]), dtype="float32", rank=4, alpha=alpha, quantisation="loftq")
        assert close(split.decoder.layers[0].self_attn.q_proj(x), x @ (dequantise(quantised) + b @ a).T)


def test_4_bit_backbones_train(folders: dict[str, Path]) -> None:
    backbone = built(folders["llama"], dtype="bfloat16", quantisation="loftq")
    slopes = gradients(backbone, data())
    assert all(slope.isfinite().all() and slope.abs().max() > 0 for slope in slopes.values())
    assert len(slopes) == 1 + 4 * LAYERS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 4}, "layers: expected 1 to 3, got 4"),
        ({"layers": 0}, "layers: expected 1 to 3, got 0"),
        ({"dtype": "int8"}, "dtype: expected 'bfloat16', 'float16' or 'float32', got 'int8'"),
        ({"quantisation": "int4"}, "quantisation: expected None, 'nf4' or 'loftq', got 'int4'"),
        ({"quantisation": "loftq", "rank": 0}, "expected a rank of at least 1, got 0"),
        ({"rank": -1}, "expected rank >= 0, alpha > 0 and targets, got rank -1"),
        ({"targets": ()}, r"expected rank >= 0, alpha > 0 and targets, got .* targets \(\)"),
        ({"targets": ("q_proj", "w_q")}, "targets: w_q not in the model; its linear layers are down_proj, .*q_proj"),
    ],
)
def test_options_that_make_no_sense_are_refused(folders: dict[str, Path], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        built(folders["llama"], **options)


def test_tokens_of_another_width_or_too_many_are_refused(folders: dict[str, Path]) -> None:
    backbone = built(folders["gpt2"])
    with pytest.raises(ValueError, match=r"expected shape \(sequences, n, 32\), got \(5, 32\)"):
        backbone(WORDS, data()[:, 0])
    with pytest.raises(ValueError, match=r"mask: expected shape \(5, 6\), got \(5, 1, 6\)"):
        backbone(WORDS, data(), mask=torch.ones(SEQUENCES, 1, TOKENS, dtype=torch.bool))
    with pytest.raises(ValueError, match="the model has 64 positions, words and data need 65"):
        backbone(WORDS, data(tokens=61), ordered=True)
    assert backbone(WORDS, data(tokens=61)).shape == (SEQUENCES, 61, WIDTH), "a set stands at one position"


def test_folders_without_safetensors_or_with_too_few_weights_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    for file in folders["llama"].iterdir():
        if file.suffix == ".json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"expected weights in \*\.safetensors, none in"):
        Backbone(str(tmp_path))
    weights = load_file(folders["llama"] / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks 1 of the model's weights, layers\.1\.mlp\.up_proj\.weight first"):
        Backbone(str(tmp_path))
    assert Backbone(str(tmp_path), layers=1).identity["layers"] == 1


def test_the_hub_is_asked_for_no_name_that_is_known_or_nearly(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked = []

    def download(name: str, allow_patterns: list[str], ignore_patterns: list[str]) -> str:
        asked.append((name, [p for p in allow_patterns if p.endswith((".bin", ".py", ".pt"))]))
        if name == "someone/nothing":
            raise OSError("no such repository")
        return str(folders["llama"])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert Backbone("someone/llama", dtype="float32").width == WIDTH
    with pytest.raises(ValueError, match=r"got 'someone/nothing'; the hub says: no such repository"):
        Backbone("someone/nothing")
    assert asked == [("someone/llama", []), ("someone/nothing", [])]
    with pytest.raises(ValueError, match=r"got 'smollm2-135'; did you mean 'smollm2-135m'\?"):
        Backbone("smollm2-135")
    with pytest.raises(ValueError, match="expected smollm2-135m, random, gpt2-random, a folder"):
        Backbone("/no/such/folder")
    assert len(asked) == 2


def test_a_model_without_exchangeable_attention_would_miss_its_instruction_and_is_refused(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = built(folders["llama"])
    backbone.decoder.config._attn_implementation = "eager"
    with pytest.raises(ValueError, match="expected 3 layers with exchangeable attention, got 0"):
        backbone("", data())


TEXTS = ("serve", "all users", "", "well users serve all", "all users")  # one for each sequence; two are alike, one is empty


def text_gradients(backbone: Backbone, tokens: Tensor, texts: tuple[str, ...], **options: Any) -> dict[str, Tensor]:
    backbone.zero_grad()
    tokens = tokens.clone().requires_grad_()
    backbone(WORDS, tokens, texts=texts, **options)[:, 1:].sin().sum().backward()
    assert tokens.grad is not None
    return {"tokens": tokens.grad, **{n: p.grad for n, p in backbone.named_parameters() if p.grad is not None}}


@pytest.mark.parametrize("texts", [TEXTS, ("all users",) * SEQUENCES], ids=["several", "one"])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_reading_each_text_once_equals_running_every_sequence_alone(
    folders: dict[str, Path], kind: str, ordered: bool, texts: tuple[str, ...]
) -> None:
    backbone = built(folders[kind], prefix_tokens=2)
    mask = torch.rand(SEQUENCES, TOKENS, generator=torch.Generator().manual_seed(3)) < 0.6
    for instruction in (WORDS, ""):
        together = backbone(instruction, data(), ordered, mask, texts)
        for row, text in enumerate(texts):
            own = slice(row, row + 1)
            backbone.shared = False
            assert close(together[own], backbone(instruction, data()[own], ordered, mask[own], [text]))
            backbone.shared = True
            assert close(together[own], backbone(instruction, data()[own], ordered, mask[own], [text]))
    slopes = []
    for backbone.shared in (True, False):
        slopes.append(text_gradients(backbone, data(), texts, ordered=ordered, mask=mask))
    assert slopes[0].keys() == slopes[1].keys() and {"tokens", "prefix"} < slopes[0].keys()
    for name, slope in slopes[0].items():
        assert close(slope, slopes[1][name], 1e-4), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_behind_the_instruction_reads_as_if_it_were_its_end(folders: dict[str, Path], kind: str) -> None:
    backbone = built(folders[kind])
    with torch.no_grad():
        split = backbone("serve all", data(), ordered=True, texts=["users well"] * SEQUENCES)
        assert close(split, backbone("serve all users well", data(), ordered=True))
        assert close(backbone("", data(), texts=[WORDS] * SEQUENCES), backbone(WORDS, data()))
        assert torch.equal(backbone(WORDS, data(), texts=[""] * SEQUENCES), backbone(WORDS, data()))


def test_a_text_reaches_its_own_sequence_alone(folders: dict[str, Path]) -> None:
    backbone = built(folders["llama"])
    with torch.no_grad():
        before = backbone(WORDS, data(), texts=TEXTS)
        after = backbone(WORDS, data(), texts=("other", *TEXTS[1:]))
    assert ((after - before)[0].abs().amax(-1) > 1e-3).all()
    assert close(after[1:], before[1:])


def test_each_distinct_text_is_read_once_behind_one_reading_of_the_instruction(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, sizes = built(folders["llama"]).eval(), []
    run = backbone._run

    def noted(embedded: Tensor, *args: Any) -> Tensor:
        sizes.append(tuple(embedded.shape[:2]))
        return run(embedded, *args)

    monkeypatch.setattr(backbone, "_run", noted)
    backbone(WORDS, data(), texts=TEXTS)
    assert sizes == [(1, 4), (4, 4), (SEQUENCES, TOKENS)]  # the instruction, four texts of at most four words, the data
    sizes.clear()
    with torch.no_grad():
        for _ in range(3):
            backbone(WORDS, data(), texts=TEXTS)
    assert sizes == [(1, 4), (4, 4)] + 3 * [(SEQUENCES, TOKENS)], "without gradients they are remembered"


def test_texts_of_another_number_or_too_long_are_refused(folders: dict[str, Path]) -> None:
    backbone = built(folders["gpt2"])
    with pytest.raises(ValueError, match="texts: expected 5, one for each sequence, got 2"):
        backbone(WORDS, data(), texts=["serve", "all"])
    with pytest.raises(ValueError, match="the model has 64 positions, words and data need 65"):
        backbone(WORDS, data(), texts=["serve " * 60, *TEXTS[1:]])
