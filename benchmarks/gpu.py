"""Kernels on a GPU: checked against float64 on the CPU, then timed in turns with torch's optimizers.

PYTHONPATH=lib python benchmarks/gpu.py --out results.json          # on a machine with a CUDA device, under four minutes
PYTHONPATH=lib python benchmarks/gpu.py --device cpu --tiny         # Triton's interpreter: to see that all of it runs

Needs PyTorch >= 2.9, Triton, SymPy and NumPy alone. Every result is written as soon as it is there; what fails is recorded
with its error, and the rest goes on; reports on other cards in the same file stay. Device times are those between two events on a queue that is never empty, wall times
those of many calls in a row and the wait for the last one. The floor is the bytes that a step must read and write, over the
bandwidth of a copy that takes part in the same rounds. Everything of ours goes through `Optimizer.step`, but "kernel alone".
"""

import argparse
import gc
import json
import os
import platform
import random
import signal
import statistics
import sys
import time
import warnings
from contextlib import contextmanager
from datetime import date
from pathlib import Path

ON_CPU = "cpu" in sys.argv
if ON_CPU:
    os.environ["TRITON_INTERPRET"] = "1"  # before a kernel is made

import numpy as np  # noqa: E402
import sympy  # noqa: E402
import torch  # noqa: E402
import triton  # noqa: E402
from torch.nn import Parameter  # noqa: E402

import stepsize as s  # noqa: E402
from stepsize import gpu  # noqa: E402
from stepsize.optim import Optimizer  # noqa: E402

ADAM = s.Adam(1e-3, 0.9, 0.99, 1e-6)
RULES = {
    "SGD": s.SGD(),
    "HeavyBall": s.HeavyBall(),
    "SignDescent": s.SignDescent(),
    "Lion": s.Lion(1e-2),
    "AdaGrad": s.AdaGrad(),
    "RMSProp": s.RMSProp(),
    "Adam": ADAM,
    "AMSGrad": s.AMSGrad(1e-2),
    "AdaBelief": s.AdaBelief(1e-2, eps=1e-6),
    "ADOPT": s.ADOPT(1e-2),
    "AdamW": s.Decoupled(ADAM, 0.1),
    "Adam, coupled": s.Coupled(ADAM, 0.1),
    "InverseRoot": s.InverseRoot(ADAM),
    "LinearDecay": s.LinearDecay(s.RMSProp(), 4),
    "ScheduleFree": s.ScheduleFree(s.RMSProp()),
    "ClipByValue": s.chain(s.ClipByValue(0.5), ADAM),
    "ClipByNorm": s.chain(s.ClipByNorm(2.0), s.Decoupled(ADAM, 0.1)),
}
SIZES = [(1,), (7,), (2047,), (2048,), (2049,), (3, 5, 7), (10001,), ()]

#: rule, torch's optimizer and settings, what else torch offers, arrays that a step reads or writes
RACES = {
    "Adam": (s.Adam(), torch.optim.Adam, {}, ("fused", "foreach"), 7),
    "AdamW": (s.Decoupled(s.Adam()), torch.optim.AdamW, {}, ("fused",), 7),
    "RMSProp": (s.RMSProp(), torch.optim.RMSprop, {}, ("foreach",), 5),
    "AdaGrad": (s.AdaGrad(), torch.optim.Adagrad, {}, ("foreach",), 5),
    "HeavyBall": (s.HeavyBall(), torch.optim.SGD, {"momentum": 0.9}, ("fused",), 5),
    "Lion": (s.Lion(), None, {}, (), 5),
}
COMPILED = {"RMSProp", "AdaGrad"}
LAYER = [
    (768,),
    (768,),
    (768, 2304),
    (2304,),
    (768, 768),
    (768,),
    (768,),
    (768,),
    (768, 3072),
    (3072,),
    (3072, 768),
    (768,),
]
SMALL = [(128, 784), (128,), (64, 128), (64,), (10, 64), (10,)]


def works(tiny):
    """name -> shapes: one long tensor, the 148 tensors of GPT-2 small, a network of 6 small tensors."""
    gpt2 = [(50257, 768), (1024, 768), *(12 * LAYER), (768,), (768,)]
    if tiny:
        return {"long": [(5000,)], "GPT-2": [(n // 100 + 1,) for n, *_ in gpt2[:14]], "small": [(9, 7), (9,), (3, 9)]}
    return {"long": [(2**27,)], "GPT-2": gpt2, "small": SMALL}


class Report:
    """What is known so far, on the screen and in a file."""

    def __init__(self, path, seconds):
        self.path, self.end, self.start = path, time.monotonic() + seconds, time.monotonic()
        on_record = json.loads(path.read_text()) if path and path.is_file() else []
        cuda = torch.cuda.is_available() and not ON_CPU
        card = torch.cuda.get_device_name() if cuda else f"none: Triton's interpreter on {platform.machine()}"
        versions = {"python": platform.python_version(), "cuda": torch.version.cuda}
        versions |= {m.__name__: m.__version__ for m in (torch, triton, sympy, np)}
        self.known = {"card": card, "date": date.today().isoformat(), "versions": versions, "rows": []}
        self.others = [report for report in on_record if report["card"] != card]
        print(f"{card}\n{', '.join(f'{k} {v}' for k, v in versions.items())}", flush=True)

    def row(self, part, name, function, *arguments):
        """One result, or the error in its place; nothing new begins after the time is up."""
        begun = time.monotonic() < self.end
        try:
            result = function(*arguments) if begun else {"error": "not begun: no time left"}
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"}
        self.known["rows"].append({"part": part, "name": name} | result)
        print(f"[{time.monotonic() - self.start:5.1f} s] {part}: {name}: {described(result)}", flush=True)
        self.known["seconds"] = round(time.monotonic() - self.start, 1)
        if self.path:
            self.path.write_text(json.dumps([*self.others, self.known], indent=1))
        if begun:
            gc.collect()
            if not ON_CPU:
                torch.cuda.empty_cache()


def described(result):
    if "times" not in result:
        return ", ".join(f"{k} {v}" for k, v in result.items())
    lines = [""]
    for who, t in result["times"].items():
        spans = (f"{kind} {t[kind][0]:9.4f} [{t[kind][1]:.4f}, {t[kind][2]:.4f}]" for kind in ("device", "wall"))
        floor = f"   {t['floors']:5.2f} x floor" if "floors" in t else ""
        lines.append(f"    {who:24s} ms: {'   '.join(spans)}{floor}   {t['of_ours']:5.2f} x ours")
    return "\n".join(lines)


# ---------------------------------------------------------------- checks


def parameters(shapes, dtype, device, seed=0):
    random = torch.Generator().manual_seed(seed)
    made = (torch.randn(shape, generator=random, dtype=torch.float64) for shape in shapes)
    return [Parameter(x.to(dtype).to(device)) for x in made]


def give_gradients(params, t, factor=1.0):
    random = torch.Generator().manual_seed(100 + t)
    for p in params:
        p.grad = (factor * torch.randn(p.shape, generator=random, dtype=torch.float64)).to(p.dtype).to(p.device)


def trained(rule, dtype, device, compiled, steps=5):
    params = parameters(SIZES, dtype, device)
    optimizer = Optimizer(params, rule, compiled=compiled)
    for t in range(steps):
        give_gradients(params, t)
        optimizer.step()
    if compiled is not False:
        assert type(optimizer._batches[0]) is gpu.DeviceBatch, "the kernel was not used"
    return [[p.detach(), *(leaf for name, leaf in optimizer.state[p].items() if name != "rows")] for p in params]


def deviation(one, other):
    """Largest difference, relative where numbers are larger than one; infinite where one is not a number."""
    worst = 0.0
    for a, b in zip(one, other, strict=True):
        for u, v in zip(a, b, strict=True):
            u, v = u.double().cpu(), v.double().cpu()
            difference = ((u - v).abs() / v.abs().clamp(min=1)).max().item()
            worst = max(worst, difference if difference == difference else float("inf"))
    return worst


def judged(found, most):
    return {"good": bool(found <= most), "deviation": float(f"{found:.3g}"), "most": most}


def check_rule(rule, dtype, most, device):
    """The kernel's steps and those of the rule itself in float64 on the CPU; 16 bits: on the CPU in the same dtype."""
    exact = dtype if dtype in (torch.bfloat16, torch.float16) else torch.float64
    ours, theirs = trained(rule, dtype, device, None), trained(rule, exact, "cpu", False)
    return judged(deviation(ours, theirs), most)


def check_found_inf(device):
    params = parameters(SIZES, torch.float32, device)
    optimizer = Optimizer(params, RULES["AdamW"])
    give_gradients(params, 0)
    optimizer.step()
    before = [[p.detach().clone(), *(leaf.clone() for leaf in optimizer._kept(p))] for p in params]
    optimizer.found_inf, optimizer.grad_scale = torch.ones((), device=device), torch.ones((), device=device)
    optimizer.step()
    return judged(deviation([[p.detach(), *optimizer._kept(p)] for p in params], before), 0.0)


def check_scaler(device):
    """A GradScaler with an infinite gradient in its second step, beside the same training without a kernel."""
    made = []
    for compiled in (None, False):
        params = parameters(SIZES, torch.float32, device)
        optimizer = Optimizer(params, RULES["AdamW"], compiled=compiled)
        scaler = torch.amp.GradScaler(torch.device(device).type, init_scale=2.0**10)
        for t in range(3):
            scaler.scale(torch.zeros(1, device=device))
            give_gradients(params, t, factor=scaler.get_scale())
            if t == 1:
                params[2].grad[0] = torch.inf
            scaler.step(optimizer)
            scaler.update()
        made.append([[p.detach(), *optimizer._kept(p)] for p in params])
    return judged(deviation(*made), 2e-6)


@contextmanager
def no_waiting():
    if ON_CPU:
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def check_no_waiting(device):
    """Steps with gradients that move, rates that change and a clip, while torch forbids every synchronisation."""
    for rule in (RULES["AdamW"], RULES["ClipByNorm"], RULES["ScheduleFree"]):
        params = parameters(SIZES, torch.float32, device)
        optimizer = Optimizer(params, rule)
        give_gradients(params, 0)
        optimizer.step()
        more = [[p.grad.clone() for p in params] for _ in range(3)]
        one = torch.ones((), device=device)
        with no_waiting():
            for k, gradients in enumerate(more):
                optimizer.param_groups[0]["lr"] = 0.1 / (1 + k)
                for p, g in zip(params, gradients, strict=True):
                    p.grad = g
                optimizer.step()
            optimizer.found_inf, optimizer.grad_scale = 0 * one, one
            optimizer.step()
    return {"good": True}


def graph_of(step):
    """A call that replays one step from a CUDA graph; three steps are made before."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def check_graph(device):
    """Three steps, and four more by replays, equal seven steps, bit for bit; eager steps between replays count too."""
    if ON_CPU:
        return {"skipped": "no CUDA"}
    made = []
    for captured in (True, False):
        params = parameters(SIZES, torch.float32, device)
        optimizer = Optimizer(params, RULES["ClipByNorm"])
        give_gradients(params, 0)
        replay = graph_of(optimizer.step) if captured else None
        for k in range(4 if captured else 7):
            optimizer.step() if not captured or k == 2 else replay()
        torch.cuda.synchronize()
        made.append([[p.detach(), *optimizer._kept(p)] for p in params])
    return judged(deviation(*made), 0.0)


def check_captured_training(device):
    """Forward, backward and step in one graph, with gradients that the capture allocates, beside the same steps without one."""
    if ON_CPU:
        return {"skipped": "no CUDA"}
    made = []
    for captured in (True, False):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.Tanh(), torch.nn.Linear(128, 1)).to(device)
        optimizer, x = Optimizer(model.parameters(), RULES["AdamW"]), torch.randn(32, 64, device=device)

        def step(model=model, optimizer=optimizer, x=x):
            optimizer.zero_grad(set_to_none=True)
            model(x).square().mean().backward()
            optimizer.step()

        replay = graph_of(step) if captured else step
        for k in range(8 if captured else 11):
            step() if k == 3 else replay()
            torch.randn(4096, device=device)  # which may take memory that the graph should have kept
        torch.cuda.synchronize()
        made.append([[p.detach(), *optimizer._kept(p)] for p in model.parameters()])
    return judged(deviation(*made), 1e-5)


def check_clocks(device, tiny):
    """Many steps of tensors of many blocks: a clock that moved early or twice would show in its own last digits."""
    sizes, steps = ([(5000,), (3,)], 20) if tiny else ([(2**20,), (3,), (2**16 + 1,)], 2000)
    params = parameters(sizes, torch.float32, device)
    optimizer = Optimizer(params, RULES["AdamW"])
    give_gradients(params, 0)
    for _ in range(steps):
        optimizer.step()
    single = [Parameter(torch.zeros(1))]
    single[0].grad = torch.ones(1)
    alone = Optimizer(single, RULES["AdamW"], compiled=False)
    for _ in range(steps):
        alone.step()
    clocks = [[optimizer.state[p][name] for name in ("w_m", "w_v")] for p in params]
    expected = [[alone.state[single[0]][name] for name in ("w_m", "w_v")]] * len(params)
    return judged(deviation(clocks, expected), 1e-6) | {"turns": optimizer._batches[0].turns.abs().max().item()}


def check_layouts(device):
    """Parameters and gradients that are transposed, not aligned, or of another dtype than each other."""

    def gradients(params, where):
        for k, p in enumerate(params):
            values = torch.linspace(-1, 2, p.numel() + 1)[1:].view(p.shape)
            if k == 2 and hasattr(p, "grad_dtype"):
                p.grad_dtype, values = torch.bfloat16, values.bfloat16()
            p.grad = values.to(where)

    made = []
    for where, compiled in ((device, None), ("cpu", False)):
        x = torch.linspace(-1, 1, 6013, device=where)
        params = [Parameter(x[:6000].view(60, 100).t()), Parameter(x[1:].clone()[3:]), Parameter(x[:4097].clone())]
        optimizer = Optimizer(params, s.RMSProp(), compiled=compiled)
        for _ in range(3):
            gradients(params, where)
            optimizer.step()
        made.append([[p.detach(), optimizer.state[p]["s"]] for p in params])
    return judged(deviation(*made), 2e-6)


def check_beyond_32_bits(device, tiny):
    """The last coordinates of a tensor with more than 2^31 of them."""
    n = 4100 if tiny else 2**31 + 5
    p = Parameter(torch.zeros(n, dtype=torch.bfloat16, device=device))
    p.grad = torch.full((n,), -1.0, dtype=torch.bfloat16, device=device)
    Optimizer([p], s.SGD(0.5)).step()
    return {"good": bool((p[-9:] == 0.5).all() and (p[:9] == 0.5).all() and p[n // 2] == 0.5), "coordinates": n}


def checks(report, device, tiny):
    for name, rule in RULES.items():
        report.row("check", f"{name}, float32", check_rule, rule, torch.float32, 2e-5, device)
    for name, rule in RULES.items():
        report.row("check", f"{name}, float64", check_rule, rule, torch.float64, 1e-12, device)
    # one unit in the last place, which the interpreter may lose in each of five steps
    for dtype, most in ((torch.bfloat16, 5 * 2**-7 if ON_CPU else 2**-7), (torch.float16, 2**-10)):
        for name in ("AdamW", "RMSProp", "Lion", "ClipByNorm"):
            report.row("check", f"{name}, {dtype}", check_rule, RULES[name], dtype, most, device)
    report.row("check", "found_inf", check_found_inf, device)
    report.row("check", "GradScaler", check_scaler, device)
    report.row("check", "no synchronisation", check_no_waiting, device)
    report.row("check", "CUDA graph", check_graph, device)
    report.row("check", "CUDA graph of a training", check_captured_training, device)
    report.row("check", "clocks", check_clocks, device, tiny)
    report.row("check", "layouts", check_layouts, device)
    report.row("check", "more than 2^31 coordinates", check_beyond_32_bits, device, tiny)


# ---------------------------------------------------------------- times


def device_times(jobs, rounds):
    """name -> milliseconds between events around each call; the device is kept busy while the calls are queued."""
    order, spans = random.Random(0), {name: [] for name in jobs}
    for k in range(rounds + 3):
        for name in order.sample(list(jobs), len(jobs)):
            if ON_CPU:
                start = time.perf_counter()
                jobs[name]()
                spans[name] += [1e3 * (time.perf_counter() - start)] * (k >= 3)
                continue
            events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            torch.cuda._sleep(20_000_000)  # about 10 ms
            events[0].record()
            jobs[name]()
            events[1].record()
            spans[name] += [events] * (k >= 3)
        if not ON_CPU:
            torch.cuda.synchronize()
    return spans if ON_CPU else {name: [a.elapsed_time(b) for a, b in all_] for name, all_ in spans.items()}


def wall_times(jobs, rounds, calls):
    """name -> milliseconds of a call among many, the wait for the device shared among them."""
    order, spans = random.Random(1), {name: [] for name in jobs}
    for _ in range(rounds):
        for name in order.sample(list(jobs), len(jobs)):
            start = time.perf_counter()
            for _ in range(calls):
                jobs[name]()
            if not ON_CPU:
                torch.cuda.synchronize()
            spans[name].append(1e3 * (time.perf_counter() - start) / calls)
    return spans


def raced(jobs, lengths, copied, rounds, calls):
    """Both times of every job. `lengths` has the bytes that a job must move, for those that have a floor; "copy" moves `copied`."""
    found = {"device": device_times(jobs, rounds), "wall": wall_times(jobs, max(3, rounds // 4), calls)}
    times = {who: {} for who in jobs}
    for kind, spans in found.items():
        for who, all_ in spans.items():
            numbers = statistics.median(all_), min(all_), max(all_)
            times[who][kind] = [float(f"{x:.4g}") for x in numbers]
    bandwidth = copied / times["copy"]["device"][0]  # bytes a millisecond
    for who, t in times.items():
        t["of_ours"] = float(f"{t['device'][0] / times['ours']['device'][0]:.4g}")
        t["wall_of_ours"] = float(f"{t['wall'][0] / times['ours']['wall'][0]:.4g}")
        if who in lengths:
            t["floors"] = float(f"{t['device'][0] * bandwidth / lengths[who]:.4g}")
    return {"copy_GB_per_s": float(f"{bandwidth / 1e6:.4g}"), "times": times}


def with_gradients(shapes, device, dtype=torch.float32):
    params = [Parameter(torch.randn(shape, device=device).to(dtype)) for shape in shapes]
    for p in params:
        p.grad = torch.randn_like(p)
    return params


def alike(params):
    """Parameters of their own with the same gradients in the same memory."""
    copies = [Parameter(p.detach().clone()) for p in params]
    for p, q in zip(params, copies, strict=True):
        q.grad = p.grad
    return copies


def copy_job(device, tiny):
    source, to = (torch.ones(2**10 if tiny else 2**28, device=device) for _ in range(2))
    return (lambda: to.copy_(source)), 2 * source.nbytes


def alone(optimizer):
    """The launch without what `Optimizer.step` does around it."""
    optimizer.step()
    batch, values = optimizer._batches[0], optimizer._looks[0].values
    params = optimizer.param_groups[0]["params"]
    gradients = [p.grad for p in params]
    return lambda: (
        batch._call(gradients, values),
        params,
        optimizer,
    )  # which must live as long as their addresses are used


def race(rule_name, shapes, device, tiny, small):
    rule, peer, settings, forms, arrays = RACES[rule_name]
    params = with_gradients(shapes, device)
    moved = arrays * sum(p.nbytes for p in params)
    ours = Optimizer(params, rule)
    jobs = {"ours": ours.step, "kernel alone": alone(Optimizer(alike(params), rule))}
    for form in forms:
        jobs[f"torch, {form}"] = peer(alike(params), **settings, **{form: True}).step
    jobs["copy"], copied = copy_job(device, tiny)
    lengths = dict.fromkeys(jobs, moved) | {"copy": copied}
    rounds, calls = (3, 2) if tiny else (24, 100 if small else 10)
    return raced(jobs, {} if small else lengths, copied, rounds, calls)


def race_in_graphs(shapes, device, tiny):
    """A step replayed from a CUDA graph, ours and torch's."""
    if ON_CPU:
        return {"skipped": "no CUDA"}
    params, rule = with_gradients(shapes, device), RACES["AdamW"][0]
    # a graph keeps neither parameters nor states alive
    ours, theirs = Optimizer(params, rule), torch.optim.AdamW(alike(params), fused=True, capturable=True)
    jobs = {"ours": graph_of(ours.step), "torch, fused": graph_of(theirs.step)}
    jobs["copy"], copied = copy_job(device, tiny)
    return raced(jobs, {}, copied, *((3, 2) if tiny else (24, 100)))


def race_in_bfloat16(shapes, device, tiny):
    """Parameters and gradients of 2 bytes, moments of 4; torch's fused form keeps the moments in 2 as well."""
    params = with_gradients(shapes, device, torch.bfloat16)
    n = sum(p.numel() for p in params)
    jobs = {"ours": Optimizer(params, RACES["AdamW"][0]).step}
    jobs["torch, fused, 16-bit state"] = torch.optim.AdamW(alike(params), fused=True).step
    jobs["copy"], copied = copy_job(device, tiny)
    lengths = {"ours": n * 22, "torch, fused, 16-bit state": n * 14, "copy": copied}
    return raced(jobs, lengths, copied, *((3, 2) if tiny else (24, 10)))


def race_of_clips(shapes, device, tiny):
    """The norm of all gradients limited: by a scale that the kernel divides by; by torch, which writes every gradient again."""
    rule, limit, params = s.Decoupled(s.Adam()), 1.0, with_gradients(shapes, device)
    moved = 8 * sum(p.nbytes for p in params)  # the gradient is read twice
    ours, twin = Optimizer(params, rule), alike(params)
    fused = torch.optim.AdamW(twin, fused=True)
    for q in twin:
        q.grad = q.grad.clone()  # which the clip changes

    def scaled():
        norm = torch.nn.utils.get_total_norm([p.grad for p in params])
        ours.grad_scale = (norm / limit).clamp(min=1)
        ours.step()

    def clipped():
        torch.nn.utils.clip_grad_norm_(twin, limit)
        fused.step()

    jobs = {"ours": scaled, "torch, clip and fused": clipped}
    jobs["ours, each tensor's norm"] = Optimizer(alike(params), s.chain(s.ClipByNorm(limit), rule)).step
    jobs["copy"], copied = copy_job(device, tiny)
    lengths = dict.fromkeys(jobs, moved) | {"copy": copied}
    return raced(jobs, lengths, copied, *((3, 2) if tiny else (24, 10)))


#: What a kernel's text may have instead, to see what it costs.
CHANGES = {
    "ours": (),
    "approximate": (
        ("tl.div_rn(a, b) if b.dtype == tl.float32 else a / b", "a / b"),
        ("tl.sqrt_rn(a) if a.dtype == tl.float32 else tl.sqrt(a)", "tl.sqrt(a)"),
    ),
    "ordered": ((", sem='relaxed'", ""),),
    "no turns": (("tl.atomic_add(TURNS + K, 1, sem='relaxed')", "tl.load(TURNS + K)"), ("tl.debug_barrier()", "pass")),
    "loads of 16 bytes": (("8 if TYPE.primitive_bitwidth == 16 else 16", "16"),),
}


def race_of_settings(rule_name, shapes, device, tiny, dtype=torch.float32):
    """Blocks and warps, and texts of the kernel that differ in one respect."""
    rule, *_, arrays = RACES[rule_name]
    params, text, source = with_gradients(shapes, device, dtype), gpu.source(rule), gpu.source
    n, kept = sum(p.numel() for p in params), (gpu.BLOCK, gpu.WARPS)
    moved = n * (3 * dtype.itemsize + 4 * (arrays - 3))
    settings = {(name, *kept): change for name, change in CHANGES.items()}
    settings |= {("ours", *sizes): () for sizes in ((512, 2), (512, 4), (1024, 8), (2048, 8))}
    jobs = {}

    def job(text, block, warps):
        gpu.source = lambda rule: text
        gpu.BLOCK, gpu.WARPS = block, warps
        step = Optimizer(alike(params), rule).step
        step()  # which compiles the kernel for this block and these warps
        return step

    try:
        for (name, block, warps), change in settings.items():
            changed = text
            for old, new in change:
                changed = changed.replace(old, new)
            if change and changed == text:
                continue  # a rule without clocks or quotients
            label = name if (name, block, warps) == ("ours", *kept) else f"{name} {block}/{warps}"
            jobs[label] = job(changed, block, warps)
        jobs["copy"], copied = copy_job(device, tiny)
        lengths = dict.fromkeys(jobs, moved) | {"copy": copied}
        return raced(jobs, lengths, copied, *((3, 2) if tiny else (16, 3)))
    finally:
        gpu.source, (gpu.BLOCK, gpu.WARPS) = source, kept


@contextmanager
def at_most(seconds):
    def stop(*_):
        raise TimeoutError(f"not compiled within {seconds} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def race_with_compile(rule_name, shapes, device, tiny, small, seconds):
    """torch's foreach form through torch.compile."""
    rule, peer, settings, _, arrays = RACES[rule_name]
    params = with_gradients(shapes, device)
    ours, theirs = Optimizer(params, rule), peer(alike(params), lr=0.01, foreach=True, **settings)
    torch._dynamo.reset()
    compiled, start = torch.compile(lambda: theirs.step()), time.perf_counter()
    with at_most(seconds):
        for _ in range(3):
            compiled()
    compiled_in = round(time.perf_counter() - start, 1)
    jobs = {"ours": ours.step, "torch.compile": compiled}
    jobs["copy"], copied = copy_job(device, tiny)
    lengths = dict.fromkeys(jobs, arrays * sum(p.nbytes for p in params)) | {"copy": copied}
    rounds, calls = (3, 2) if tiny else (24, 100 if small else 10)
    return {"compiled_in_s": compiled_in} | raced(jobs, {} if small else lengths, copied, rounds, calls)


def times(report, device, tiny):
    for work, shapes in works(tiny).items():
        for name in RACES:
            report.row("time", f"{name}, {work}", race, name, shapes, device, tiny, work == "small")
    shapes = works(tiny)
    report.row("time", "AdamW in CUDA graphs, small", race_in_graphs, shapes["small"], device, tiny)
    report.row("time", "AdamW in bfloat16, GPT-2", race_in_bfloat16, shapes["GPT-2"], device, tiny)
    report.row("time", "clip and AdamW, GPT-2", race_of_clips, shapes["GPT-2"], device, tiny)


def settings(report, device, tiny):
    for name in ("Adam", "RMSProp"):
        report.row("settings", f"{name}, long", race_of_settings, name, works(tiny)["long"], device, tiny)
    arguments = "AdamW", works(tiny)["GPT-2"], device, tiny, torch.bfloat16
    report.row("settings", "AdamW in bfloat16, GPT-2", race_of_settings, *arguments)


def compiles(report, device, tiny):
    for work, seconds in (("small", 40), ("long", 40), ("GPT-2", 75)):
        for name in RACES:
            if name in COMPILED:
                left = max(1, min(seconds, int(report.end - time.monotonic())))
                arguments = name, works(tiny)[work], device, tiny, work == "small", left
                report.row("compile", f"{name}, {work}", race_with_compile, *arguments)


PARTS = {"checks": checks, "times": times, "settings": settings, "compiles": compiles}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="a file for the results, JSON")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small sizes, few rounds")
    parser.add_argument("--seconds", type=int, default=230, help="after which no new row begins")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device: nothing on a GPU is measured")
        return 0
    warnings.filterwarnings("ignore", message=".*lr_scheduler|.*CUDA Graph.*")
    report = Report(args.out, args.seconds)
    for part in args.only:
        PARTS[part](report, args.device, args.tiny)
    rows = report.known["rows"]
    bad = [row["name"] for row in rows if row.get("good") is False or "error" in row]
    print(f"{len(rows)} rows in {report.known['seconds']} s; not good: {', '.join(bad) or 'none'}")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
