# ruff: noqa
"""Stand-ins for the resolvers of names, on the published tables beside the checkout. Replaced by the project's own."""

from __future__ import annotations

import csv
import re
import tomllib
from functools import cache
from pathlib import Path

from app.solver.model import LayerKind, LayerShape, ModelShape
from detectors.facts import PCIE_LANE_GBPS, Basis, CacheDomain, Cpu, Device, Link, Machine, MemoryBus, MemoryFacts, MemoryPool
from tests.benchmarks.rows.source import Cells, number, size_bytes

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"

# pattern, sockets, cores, caches, family, model, default GB/s, vendor
CPUS = [
    (r"7975WX", 1, 32, 4, 25, 24, 307.2, "AMD"),
    (r"7965WX", 1, 24, 4, 25, 24, 307.2, "AMD"),
    (r"9175F", 1, 16, 16, 26, 2, 537.6, "AMD"),
    (r"9355", 1, 32, 8, 26, 2, 537.6, "AMD"),
    (r"9374F", 1, 32, 8, 25, 17, 460.8, "AMD"),
    (r"9654", 1, 96, 12, 25, 17, 460.8, "AMD"),
    (r"39x5WX, 12", 1, 12, 4, 23, 49, 204.8, "AMD"),
    (r"3995WX|64-core", 1, 64, 16, 23, 49, 187.7, "AMD"),
    (r"3955WX", 1, 16, 4, 23, 49, 204.8, "AMD"),
    (r"5975WX", 1, 32, 4, 25, 8, 204.8, "AMD"),
    (r"7950X", 1, 16, 2, 25, 97, 76.8, "AMD"),
    (r"9950X", 1, 16, 2, 26, 68, 89.6, "AMD"),
    (r"7900X?\b", 1, 12, 2, 25, 97, 83.2, "AMD"),
    (r"5900X", 1, 12, 2, 25, 33, 51.2, "AMD"),
    (r"5700X", 1, 8, 1, 25, 33, 51.2, "AMD"),
    (r"9600X", 1, 6, 1, 26, 68, 96.0, "AMD"),
    (r"8845HS", 1, 8, 1, 25, 117, 89.6, "AMD"),
    (r"AI Max", 1, 16, 2, 26, 112, 256.0, "AMD"),
    (r"6138", 1, 20, 0, 6, 85, 128.0, "Intel"),
    (r"6454S", 1, 32, 0, 6, 143, 307.2, "Intel"),
    (r"8488C", 1, 48, 0, 6, 143, 307.2, "Intel"),
    (r"QYFS|8480", 1, 56, 0, 6, 143, 307.2, "Intel"),
    (r"6980P", 1, 128, 0, 6, 173, 512.0, "Intel"),
    (r"dual Xeon", 2, 24, 0, 6, 85, 128.0, "Intel"),
    (r"2683 v4", 1, 32, 0, 6, 79, 76.8, "Intel"),
    (r"265K|285K|270K", 1, 8, 0, 6, 198, 102.4, "Intel"),
    (r"Arrow Lake", 1, 6, 0, 6, 198, 119.5, "Intel"),
    (r"14900K|13900", 1, 8, 0, 6, 183, 89.6, "Intel"),
    (r"12600K", 1, 6, 0, 6, 151, 96.0, "Intel"),
    (r"12400F", 1, 6, 0, 6, 151, 89.6, "Intel"),
    (r"9600K", 1, 6, 0, 6, 158, 42.7, "Intel"),
    (r"10400F", 1, 6, 0, 6, 165, 42.7, "Intel"),
    (r"10750H", 1, 6, 0, 6, 165, 46.9, "Intel"),
    (r"10900X", 1, 10, 0, 6, 85, 102.4, "Intel"),
    (r"GB10|A725", 1, 10, 0, 0, 0, 273.0, "ARM"),
    (r"M4 Pro", 1, 10, 0, 0, 0, 273.0, "Apple"),
    (r"M5 Max", 1, 12, 0, 0, 0, 614.0, "Apple"),
]
UNIFIED = {"8060S": (256.0, 59.4, "gfx1151"), "780M": (89.6, 16.6, "gfx1103"), "GB10": (273.0, 125.0, "sm_121"),
           "M4 Pro": (273.0, 18.0, "apple"), "M5 Max": (614.0, 70.0, "apple"), "M3 Ultra": (819.0, 57.0, "apple")}  # fmt: skip


@cache
def _gpus() -> list[dict[str, str]]:
    with (Path(__file__).resolve().parents[3] / "presets/devices/gpus.toml").open("rb") as file:
        families = tomllib.load(file)["family"]
    found = []
    for family in families:
        for line in family["rows"].strip().splitlines():
            fields = [field.strip() for field in line.split("|")]
            for name in (fields[0], *(fields[6].split(",") if len(fields) > 6 else ())):
                found.append(
                    {
                        "vendor": family["vendor"],
                        "name": name,
                        "vram_gb": fields[2].replace("-", ""),
                        "gfx_or_cc": family.get("arch", ""),
                        "bandwidth_gbs": fields[3].replace("-", ""),
                        "fp16_tflops_dense": fields[4].replace("-", ""),
                        "kind": family["kind"],
                    }
                )
    return found


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]*\d+[a-z]*|[a-z]+", text.lower())) - {
        "geforce", "radeon", "nvidia", "amd", "intel", "rtx", "rx", "gpu", "gtx", "gb"}  # fmt: skip


@cache
def gpu_of(name: str) -> dict[str, str] | None:
    plain = re.sub(r"\(.*?\)|\b\d+\s?GB\b|mobile", lambda m: "Laptop" if m[0] == "mobile" else "", name)
    wanted = _words(plain)
    memory = re.search(r"(\d+)\s?GB", name)
    best, score = None, 0.0
    for row in _gpus():
        have = _words(re.sub(r"\d+\s?GB", "", row["name"]))
        if not any(any(c.isdigit() for c in word) for word in wanted & have):
            continue
        value = len(wanted & have) - 0.3 * len(have - wanted) - 0.6 * len(wanted - have)
        if memory and row["vram_gb"] and float(row["vram_gb"]) == float(memory[1]):
            value += 0.2
        if value > score:
            best, score = row, value
    return best


def machine_of(cells: Cells) -> Machine:
    text = cells.get("gpu", "") or cells.get("machine", "")
    if "geerling" in text:
        inner = re.search(r"\((?:Nvidia|AMD) (.*?)\)", text)
        text = inner[1] if inner and "GB10" not in text else text
    cpu_text = cells.get("cpu", "")
    nodes = (
        number(re.sub(r".*?(\d)x \(?(?:Strix|AI Max).*", r"\1", cells.get("machine", "")))
        if re.match(r"\dx \(?Strix", cells.get("machine", ""))
        else 1
    )
    devices: list[Device] = []
    cpu, bandwidth, basis, bus = _cpu(cells, cpu_text)
    devices.append(
        Device("cpu", "cpu", cpu.model if cpu else "CPU", "", "ram", bandwidth_gbps=bandwidth, bandwidth_basis=basis)
    )
    index = 0
    for part in re.split(r"\s\+\s", text):
        many = re.match(r"\s*(\d+)x\s+(.*)", part)
        times, name = (int(many[1]), many[2]) if many else (1, part)
        if "Arrow Lake" in cells.get("machine", "") and "igpu" in cells.get("placement", ""):
            pass
        unified = next((value for key, value in UNIFIED.items() if key.lower() in name.lower()), None)
        if unified:
            total = number(cells.get("ram_gb", "")) or 128
            devices.append(
                Device(
                    "gpu:igpu",
                    "igpu",
                    name,
                    "",
                    "ram",
                    int(total * 2**30),
                    unified[2],
                    bandwidth_gbps=unified[0],
                    bandwidth_basis="table",
                    fp16_tflops=unified[1],
                )
            )
            for node in range(1, int(nodes or 1)):
                devices.append(
                    Device(
                        f"remote:{node}",
                        "remote",
                        name,
                        "",
                        f"remote:{node}",
                        int(total * 2**30),
                        unified[2],
                        bandwidth_gbps=unified[0],
                        bandwidth_basis="table",
                        fp16_tflops=unified[1],
                    )
                )
            continue
        row = gpu_of(name)
        if row is None:
            continue
        arch = row["gfx_or_cc"]
        for _ in range(times):
            devices.append(Device(f"gpu:{index}", "dgpu", row["name"], row["vendor"], f"vram:{index}", int(float(row["vram_gb"] or 8) * 2**30), arch,
                                  bandwidth_gbps=number(row["bandwidth_gbs"]), bandwidth_basis="table", fp16_tflops=number(row["fp16_tflops_dense"])))  # fmt: skip
            index += 1
    memory = MemoryFacts(64 << 30, bus=bus)
    links = tuple(Link("cpu", d.id, _link_gbps(cells.get("pcie", ""), d.name), None, None, "table", "host") for d in devices if d.kind == "dgpu")
    return Machine("row", cpu, (MemoryPool("ram", "RAM", 64 << 30, None),), tuple(devices), links, memory=memory)


def _link_gbps(stated: str, name: str) -> float:
    """The link's bandwidth as stated, else what the card can do at the width that it usually has."""
    match = re.search(r"(?:PCIe|gen|Gen)\s*(\d)(?:\.0)?\s*x(\d+)", stated)
    if match:
        generation, width = int(match[1]), int(match[2])
    else:
        generation = 5 if re.search(r"RTX 50|PRO 6000|RX 90|Arc Pro B", name) else 3 if re.search(r"RTX 20|GTX|V100|T4|P40", name) else 4
        width = 8 if re.search(r"Laptop|mobile|[56]060|4060|7600|B580", name) else 16
    oculink = re.search(r"oculink", stated, re.IGNORECASE)
    if oculink and not match:
        generation, width = 4, 4
    return PCIE_LANE_GBPS[{3: 8.0, 4: 16.0, 5: 32.0}.get(generation, 16.0)] * width


def _cpu(cells: Cells, text: str) -> tuple[Cpu | None, float | None, Basis, MemoryBus | None]:
    known = next((entry for entry in CPUS if re.search(entry[0], text + cells.get("machine", ""))), None)
    stated = number(cells.get("mem_bandwidth_gbs", ""))
    measured = (
        cells.get("mem_bw_kind", "").startswith("stated-measured")
        or "effective" in cells.get("mem_bw_kind", "")
        or stated in (77.3, 63.2)
    )
    if known is None:
        return None, stated, "table" if stated else "estimated", None
    sockets = 2 if re.match(r"2x|dual", text) else known[1]
    speed = re.search(r"(?:DDR\d|DDR5X)-(\d{4})", cells.get("mem_type", "") + text)
    channels = number(cells.get("mem_channels", ""))
    per_socket = channels / sockets if channels and channels > 12 and sockets == 2 else channels
    if channels and sockets == 2 and "per socket" not in cells.get("mem_channels", ""):
        per_socket = channels / 2
    theory = known[6]
    if speed:
        by_default = {307.2: 8, 537.6: 12, 460.8: 12, 204.8: 8, 187.7: 8, 128.0: 6}.get(known[6], 2)
        theory = (per_socket or by_default) * float(speed[1]) * 8 / 1000
    if stated and "theoretical" in cells.get("mem_bw_kind", ""):
        theory = stated
    if "2000 MT/s" in cells.get("mem_type", "") and "misconfigured" in cells.get("notes", ""):
        theory = 32.0
    theory *= sockets
    domains = tuple(CacheDomain((i,)) for i in range(known[3] * sockets))
    wide = (known[4], known[5]) in {(25, 17), (25, 24), (25, 97), (25, 117), (6, 85), (6, 143), (6, 173)} or known[4] == 26
    cpu = Cpu(text or known[0], known[7], "x86_64", sockets, known[2] * sockets, known[2] * 2 * sockets,
              isa=("avx2", "avx512f") if wide else ("avx2",),
              family=known[4], model_number=known[5], l3_domains=domains)  # fmt: skip
    basis: Basis = "measured" if stated and measured else "estimated"
    bus = MemoryBus(
        theoretical_gbps=theory,
        basis="table",
        type=(cells.get("mem_type", "") or None),
        configured_mts=int(speed[1]) if speed else None,
    )
    return cpu, stated if stated and measured else None, basis, bus


@cache
def _models() -> list[dict[str, str]]:
    with (SHARED / "models.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _name(text: str) -> str:
    return re.sub(r"[^a-z0-9.]", "", text.lower())


@cache
def _model(name: str, family: str, arch: str) -> dict[str, str] | None:
    key = _name(name.replace("/V3 671B", ""))
    hits = [row for row in _models() if _name(row["id"].removeprefix("ft-")) in key or key and key in _name(row["id"])]
    if hits:
        return max(hits, key=lambda row: len(_name(row["id"])) if _name(row["id"].removeprefix("ft-")) in key else 0)
    for row in _models():
        if _name(row["family"]) in (_name(family), key):
            return row
    for pattern, model in ((r"mixtral.*8x22", "mixtral-8x22b"), (r"tng|chimera|deepseek 671", "deepseek-r1"), (r"35B.A3B|35b", "qwen3.6-35b-a3b"),
                           (r"122B", "qwen3.5-122b-a10b"), (r"coder-v2-lite", "deepseek-v2-lite"), (r"laguna", "laguna-s-2.1"), (r"8B-A1B", "lfm2-8b-a1b"), (r"Omni-30B", "qwen3-omni-30b-a3b-instruct"),
                           (r"MiniMax", "minimax-m2"), (r"Scout", "llama-4-scout"), (r"Miqu", "midnight-miqu-70b"), (r"70b", "llama-3.1-70b")):  # fmt: skip
        if re.search(pattern, f"{name} {arch}", re.IGNORECASE):
            return next(row for row in _models() if row["id"] == model)
    return None


BPW = [(r"BF16|F16-class|^F16", 16, 16), (r"Q8_K_XL", 8.75, 8.6), (r"Q8_0|INT8|FP8|Q8", 8.5, 8.5), (r"Q6_K", 6.56, 7.5), (r"Q5_K", 5.6, 7.0),
       (r"UD-Q4_K_XL|Q4_K_XL", 4.7, 7.0), (r"MXFP4", 4.25, 8.5), (r"Q4_K_M|Q4_K|Q4-class|Q4_0|NVFP4|INT4|own 4", 4.85, 5.2), (r"IQ4", 4.3, 5.5), (r"DQ4_K_R4", 5.2, 8.5),
       (r"IQ3_K|Q3_K", 3.6, 6.0), (r"IQ3", 3.4, 6), (r"Q2_K_XL|Q2_K", 2.7, 5.6), (r"IQ2", 2.4, 6), (r"IQ1", 1.8, 6), (r"4.27bpw", 4.2, 6)]  # fmt: skip


def shape_of(cells: Cells) -> ModelShape | None:
    row = _model(cells["model"], cells.get("model_family", ""), cells.get("arch", ""))
    if row is None:
        return None
    quant = cells.get("quant", "") or cells["model"]
    small = float(row["calc_total_b"] or 0) < 60
    gptoss = "gpt-oss" in row["id"]
    found = next(((e, r) for pattern, e, r in BPW if re.search(pattern, quant)), (4.85, 5.2))
    ebpw, rbpw = found
    if re.search(r"_R4|_KS|_KT|IQ\d_K", quant):
        rbpw = 8.6
    if gptoss:
        ebpw, rbpw = 4.25, 16 if re.match("F16", quant) else 8.5
    if "XL" in quant and not small and rbpw == 7.0:
        rbpw = 5.4 if "deepseek" in row["id"] else 6.5

    def f(key: str) -> float:
        return number(row[key]) or 0.0 if row[key] else 0.0

    head_b = f("vocab") * f("d_model") / 1e9
    tied = row["tied_embeddings"] == "y"
    routed, lookup = f("calc_routed_b"), f("lookup_table_b")
    rest_b = f("calc_active_noembed_b") - head_b - (routed / f("n_expert") * f("n_expert_used") if routed else 0)
    file = size_bytes(cells["model_file_gib"] + " GiB") if cells.get("model_file_gib") else size_bytes(quant)
    known = (rest_b + head_b * (1 if tied else 2)) * rbpw / 8
    if file and routed and quant not in ("BF16",):
        ebpw = max((file / 1e9 - known) * 8 / (routed + lookup), 1.5)
    elif file and not routed:
        rbpw = file / 1e9 * 8 / (f("calc_total_b") or f("total_params_b"))
    L = int(f("n_layer"))
    moe = int(f("n_moe_layers")) if routed else 0
    lead = L - moe if moe and not row["ssm_state"].startswith("type=mamba2") else int(f("n_dense_lead"))
    pattern = re.search(r"pattern=([ME*-]+)", row["ssm_state"])
    kinds: list[LayerKind] = []
    interval = int(f("full_attn_interval"))
    nf, ns = f("n_full_attn_layers") or L, f("n_swa_layers")
    for i in range(L):
        if pattern:
            kinds.append({"M": "recurrent", "E": "none", "*": "full", "-": "none"}[pattern[1][i]])  # type: ignore[arg-type]
        elif interval:
            kinds.append("full" if (i + 1) % interval == 0 else "recurrent")
        elif ns:
            step = L / (L - ns) if ns < L else L + 1
            kinds.append("full" if int((i + 1) / step) > int(i / step) else "swa")
        elif nf < L:
            step = L / nf
            kinds.append("full" if int((i + 1) / step) > int(i / step) else "recurrent")
        else:
            kinds.append("full")
    rec = kinds.count("recurrent")
    state = int(f("state_f32_bytes_per_seq") / rec) if rec else 0
    layers = []
    nswa_kv = (
        f("n_head_kv_swa") or f("n_head_kv"),
        f("head_dim_k_swa") or f("head_dim_k"),
        f("head_dim_v_swa") or f("head_dim_v"),
    )
    for i, kind in enumerate(kinds):
        has = (pattern[1][i] == "E") if pattern else i >= lead
        if row["id"] == "llama-4-maverick":
            has = i % 2 == 1
        heads, kl, vl = nswa_kv if kind == "swa" else (f("n_head_kv"), f("head_dim_k"), f("head_dim_v"))
        layers.append(LayerShape(
            attention_bytes=int(rest_b * 1e9 * rbpw / 8 / L), norm_bytes=0, router_bytes=0, shared_bytes=0, dense_bytes=0,
            expert_bytes=int(routed * 1e9 * ebpw / 8 / moe) if has and moe else 0, kind=kind,
            kv_heads=int(heads) if kind in ("full", "swa") else 0, key_length=int(kl), value_length=0 if row["mla_kv_lora"] else int(vl),
            state_bytes=state if kind == "recurrent" else 0,
            resident_weights=int(rest_b * 1e9 / L), expert_weights=int(routed * 1e9 / moe) if has and moe else 0))  # fmt: skip
    return ModelShape(row["id"], row["gguf_arch"], tuple(layers), int(head_b * 1e9 * rbpw / 8), int(head_b * 1e9 * rbpw / 8), tied, int(f("vocab")), int(f("d_model")),
                      int(f("n_head")), int(f("n_expert")), int(f("n_expert_used")), int(f("d_ff_expert")), int(f("swa_window")), int(f("max_ctx")), int(file or 0), quant)  # fmt: skip
