"""Graphs, their convolution and its parameters: what belongs to a node and what doesn't, against loops and autograd."""

import convolution
import numpy as np
import pytest
import torch
from convolution import Propagation, TwoLayers

from companion.errors import DatasetError
from companion.evidence import Chapter, student
from companion.evidence.verdict import Evidence, Verdict, compare
from companion.experiments import datasets
from companion.experiments.graph_hubs import figures, gcn, graphs, import_graph, link_prediction, race
from companion.experiments.graph_hubs.gcn import GCN, split
from companion.experiments.graph_hubs.graphs import Graph, adjacency, bins, power_law
from companion.experiments.graph_hubs.link_prediction import LinkTask, pair_gradient
from mutants import mutant
from stepsize import SGD, AdaGrad, Adam, ensemble
from stepsize.ensemble import Fleet
from stepsize.errors import EvidenceError, ShapeError
from stepsize.wrappers import Pooled


def small(n=60, classes=3, words=7, seed=0):
    rng = np.random.default_rng(seed)
    edges = power_law(n, 6.0, seed=seed).edges
    return Graph(n, edges, rng.integers(classes, size=n), rng.standard_normal((n, words)))


# graphs


@pytest.mark.parametrize(
    ("edges", "words"),
    [([[0, 3]], "name node 3"), ([[1, 1]], "loop"), ([[0, 1], [1, 0]], "twice"), ([0, 1], "stack pairs")],
)
def test_an_edge_list_that_is_no_simple_graph_is_refused(edges, words):
    with pytest.raises(ShapeError, match=words):
        Graph(3, np.array(edges))


def test_the_symmetric_adjacency_is_kipfs_formula_and_its_largest_eigenvalue_is_one():
    graph = small()
    dense = np.eye(60)
    for u, v in graph.edges:
        dense[u, v] = dense[v, u] = 1
    D = np.diag(dense.sum(1) ** -0.5)
    A = adjacency(graph).toarray()
    np.testing.assert_allclose(A, D @ dense @ D, atol=1e-15)
    np.testing.assert_allclose(np.linalg.eigvalsh(A)[-1], 1, atol=1e-12)
    np.testing.assert_allclose(adjacency(graph, "mean").sum(1), 1, atol=1e-14)
    np.testing.assert_array_equal(adjacency(graph, "sum").toarray(), dense)
    broken = mutant(graphs.adjacency, "graph.degree + float(loops)", "graph.degree + 2.0")
    assert np.linalg.eigvalsh(broken(graph).toarray())[-1] < 0.99
    bare = dense - np.eye(60)
    d = np.maximum(bare.sum(1), 1) ** -0.5
    np.testing.assert_allclose(adjacency(graph, loops=False).toarray(), d[:, None] * bare * d, atol=1e-15)
    with pytest.raises(ShapeError, match="no aggregation 'max'"):
        adjacency(graph, "max")


def test_a_graph_without_a_node_has_the_other_edges_labels_and_features():
    graph, gone = small(), 17
    left = graph.without(gone)
    others = np.delete(np.arange(60), gone)
    dense = adjacency(graph, "sum").toarray()[np.ix_(others, others)]
    np.testing.assert_array_equal(adjacency(left, "sum").toarray(), dense)
    np.testing.assert_array_equal(left.label, graph.label[others])
    np.testing.assert_array_equal(left.features, graph.features[others])


def test_bins_begin_where_they_say():
    assert list(bins(np.array([0, 1, 2, 3, 7, 8, 24, 25, 900]))) == [-1, 0, 0, 1, 1, 2, 2, 3, 3]


def test_degrees_of_a_generated_graph_follow_their_power_law():
    degree = power_law(20_000, 20.0, 2.5, seed=1).degree
    tail = degree[degree >= 20]
    exponent = 1 + len(tail) / np.log(tail / 19.5).sum()  # Hill's estimate, Clauset et al. (2009), equation 3.7
    assert abs(exponent - 2.5) < 0.15
    assert degree.max() > 50 * np.median(degree)


@pytest.mark.parametrize(("package", "size"), [("torch", (2146, 11_236)), ("sympy", (1434, 13_215))])
def test_an_import_graph_has_hubs_and_its_words_do_not_name_the_classes(package, size):
    graph = graphs.committed_graph(package)
    assert (graph.n, len(graph.edges)) == size
    assert graph.degree.min() >= 1
    assert graph.degree.max() > 60 * np.median(graph.degree)
    data = datasets.load(f"imports_{package}")
    assert not set(data["vocabulary"]) & {w.strip("_") for w in data["classes"]}
    assert np.bincount(graph.label[graph.label >= 0]).min() >= import_graph.SMALLEST_CLASS


@pytest.mark.slow
@pytest.mark.parametrize("package", ["torch", "sympy"])
def test_the_committed_graph_is_rebuilt_from_the_installed_package(package):
    built, kept = import_graph.import_graph(package), datasets.load(f"imports_{package}")
    for name, array in kept.items():
        np.testing.assert_array_equal(built[name], array, err_msg=name)


SOURCE = b"""
import a.b, a.c as z
from . import d
from ..e import f, g
from a.b import name
def parseHTMLTree(argument): return some_value.attrName
"""


def test_imports_are_resolved_to_modules_as_python_does():
    tree = import_graph.ast.parse(SOURCE)
    known = {"a.b", "a.c", "p.q.d", "p.e", "p.e.f", "p.q.r"}
    assert import_graph.imported(tree, "p.q.r", False, known) == {"a.b", "a.c", "p.q.d", "p.e", "p.e.f"}
    # inside a package's own file one dot means the package itself
    assert import_graph.imported(tree, "p.q", True, known) == {"a.b", "a.c", "p.q.d", "p.e", "p.e.f"}
    broken = mutant(import_graph.imported, "len(home) - node.level + is_package", "len(home) - node.level")
    assert broken(tree, "p.q", True, known) != import_graph.imported(tree, "p.q", True, known)


def test_words_are_parts_of_names_and_imports_do_not_count():
    found = import_graph.words(import_graph.ast.parse(SOURCE))
    assert found == {"parse", "html", "tree", "argument", "some", "value", "attr", "name"}


def test_a_file_for_a_newer_python_counts_as_empty_on_every_python(tmp_path):
    (tmp_path / "new.py").write_text("def f[T](x): pass\n")
    assert import_graph.parsed(tmp_path / "new.py").body == []


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(DatasetError, match="no package 'no_such_package'"):
        import_graph.import_graph("no_such_package")


# graph convolution


def by_autograd(net, graph, x, rows):
    x = torch.tensor(x, requires_grad=True)
    A, first = torch.tensor(net.A.toarray()), graph.features.shape[1] * net.hidden
    W0, W1 = x[:first].reshape(-1, net.hidden), x[first:].reshape(net.hidden, -1)
    out = A @ (torch.relu(A @ torch.tensor(graph.features) @ W0) @ W1)
    loss = torch.nn.functional.cross_entropy(out[rows], torch.tensor(graph.label[rows]))
    loss.backward()
    return loss.item(), x.grad.numpy()


@pytest.mark.parametrize("aggregate", ["symmetric", "mean", "sum"])
def test_the_gradient_of_every_run_is_autograds(aggregate):
    graph = small()
    net = GCN.of(graph, 5, aggregate, float)
    x = np.stack([net.start(seed) for seed in range(4)])
    rows = np.stack([split(graph, seed)[2] for seed in range(4)])
    back = net.backward(x, graph.label, rows)
    for i in range(4):
        loss, gradient = by_autograd(net, graph, x[i], rows[i])
        np.testing.assert_allclose(back.loss[i], loss, rtol=1e-12)
        np.testing.assert_allclose(back.gradient[i], gradient, atol=1e-13)
    broken = mutant(gcn.GCN, "inner *= hidden > 0", "inner *= 1").of(graph, 5, aggregate, float)
    assert np.abs(broken.backward(x, graph.label, rows).gradient - back.gradient).max() > 1e-4


def test_the_gradient_under_dropout_is_autograds_and_evaluation_drops_nothing():
    graph = small()
    net = GCN.of(graph, 5, dtype=float)
    x, rows = net.start(0)[None], split(graph, 0)[2][None]
    keep = (np.random.default_rng(3).random((1, 60, 5)) >= 0.5) / 0.5
    t = torch.tensor(x[0], requires_grad=True)
    A, first = torch.tensor(net.A.toarray()), 7 * 5
    hidden = torch.relu(torch.tensor(net.smoothed) @ t[:first].reshape(7, 5)) * torch.tensor(keep[0])
    out = A @ (hidden @ t[first:].reshape(5, -1))
    torch.nn.functional.cross_entropy(out[rows[0]], torch.tensor(graph.label[rows[0]])).backward()
    back = net.backward(x, graph.label, rows, keep)
    np.testing.assert_allclose(back.gradient[0], t.grad, atol=1e-14)
    np.testing.assert_array_equal(
        net.backward(x, graph.label, rows, np.ones((1, 60, 5))).gradient, net.backward(x, graph.label, rows).gradient
    )
    broken = mutant(gcn.GCN, "inner *= keep", "inner *= 1").of(graph, 5, dtype=float)
    assert np.abs(broken.backward(x, graph.label, rows, keep).gradient - back.gradient).max() > 1e-4


def test_units_that_are_known_change_nothing_and_those_of_other_weights_do():
    graph = small()
    net = GCN.of(graph, 5, "mean", float)
    x, rows = np.stack([net.start(s) for s in range(3)]), np.stack([split(graph, s)[0] for s in range(3)])
    own, known = (net.backward(x, graph.label, rows, units=units) for units in (None, net.units(x)))
    for one, other in zip(own, known, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(net.logits(x), net.logits(x, net.units(x)))
    assert np.abs(net.backward(x, graph.label, rows, units=net.units(2 * x)).gradient - own.gradient).max() > 1e-4


def test_a_training_that_looks_more_often_is_the_same_training():
    graph, plan = small(400), [("SGD", 3.0, 7), ("Adam", 0.03, 8)]
    often, seldom = (race.nodes(graph, plan, steps=8, every=every, dropout=0.5) for every in (2, 8))
    for one, other in zip(often, seldom, strict=True):
        np.testing.assert_array_equal(one.gradient, other.gradient)
    stale = mutant(
        race.nodes, "net.units(fleet.x) if t % every == 0 else None", "net.units(fleet.x) if t < 3 else units"
    )
    assert np.abs(stale(graph, plan, steps=8, every=2, dropout=0.5)[0].gradient - often[0].gradient).max() > 1e-6


def test_runs_of_a_seed_drop_the_same_hidden_numbers():
    graph, plan = small(400), [("SGD", 0.5, 7), ("SGD", 0.5, 7), ("SGD", 0.5, 8)]
    plain, twin, other = race.nodes(graph, plan, steps=10, dropout=0.5)
    np.testing.assert_array_equal(plain.gradient, twin.gradient)
    assert np.abs(plain.gradient - other.gradient).max() > 0
    undropped = race.nodes(graph, plan[:1], steps=10)[0]
    assert np.abs(undropped.gradient - plain.gradient).max() > 1e-6


def test_decay_adds_its_share_of_the_first_layer_to_the_gradient():
    graph, decay = small(400), 1e6
    net = GCN.of(graph, dtype=float)
    W0, _ = net.weights(net.start(7)[None])
    run = race.nodes(graph, [("SGD", 1e-15, 7)], steps=5, decay=decay)[0]
    np.testing.assert_allclose(run.row, decay * np.sqrt((W0[0] ** 2).mean(1)), rtol=1e-4)
    weak = mutant(race.nodes, "decay * fleet.x[:, :first]", "decay / 2 * fleet.x[:, :first]")
    assert np.abs(weak(graph, [("SGD", 1e-15, 7)], steps=5, decay=decay)[0].row / run.row - 1).min() > 0.4


def test_the_signal_of_a_node_is_the_slope_along_its_hidden_state():
    graph = small()
    net = GCN.of(graph, 5, dtype=float)
    x, rows = net.start(0)[None], split(graph, 0)[2][None]
    W0, W1 = (torch.tensor(W[0]) for W in net.weights(x))
    A = torch.tensor(net.A.toarray())
    hidden = torch.relu(torch.tensor(net.smoothed) @ W0).requires_grad_()
    out = A @ (hidden @ W1)
    torch.nn.functional.cross_entropy(out[rows[0]], torch.tensor(graph.label[rows[0]])).backward()
    np.testing.assert_allclose(net.backward(x, graph.label, rows).signal[0], hidden.grad.norm(dim=1), atol=1e-14)


@pytest.mark.parametrize("aggregate", ["symmetric", "mean"])
def test_a_nodes_term_is_the_gradient_of_its_own_copy_of_the_weights(aggregate, monkeypatch):
    graph, sound = small(), gcn.squared_terms
    net = GCN.of(graph, 5, aggregate, float)
    x, rows = net.start(0)[None], split(graph, 0)[2][None]
    keep = np.random.default_rng(1).integers(3, size=(1, graph.n, 5)) * 0.7
    A, smoothed, dropped = (torch.tensor(a) for a in (net.A.toarray(), net.smoothed, keep[0]))
    W0, W1 = (torch.tensor(W[0]).repeat(graph.n, 1, 1).requires_grad_() for W in net.weights(x))
    hidden = torch.relu(torch.einsum("nf,nfh->nh", smoothed, W0)) * dropped
    out = A @ torch.einsum("nh,nhc->nc", hidden, W1)
    torch.nn.functional.cross_entropy(out[rows[0]], torch.tensor(graph.label[rows[0]])).backward()
    terms = torch.cat([W0.grad.flatten(1), W1.grad.flatten(1)], 1).numpy()
    back = net.backward(x, graph.label, rows, keep)
    np.testing.assert_allclose(terms.sum(0), back.gradient[0], atol=1e-14)
    np.testing.assert_allclose(back.term[0], (terms**2).sum(1), rtol=1e-9, atol=1e-25)
    whole = "of_features * delta + hidden * spread"
    for part in ("delta + hidden * spread", "of_features * delta", "of_features * delta + spread"):
        monkeypatch.setattr(gcn, "squared_terms", mutant(sound, whole, part))
        wrong = net.backward(x, graph.label, rows, keep).term[0]
        assert not np.allclose(wrong, back.term[0], rtol=1e-2)


def test_without_features_a_nodes_term_has_the_squares_of_its_row_of_the_adjacency():
    graph = small()
    net = GCN.of(Graph(graph.n, graph.edges, graph.label), 5, dtype=float)
    np.testing.assert_allclose(net.of_features, (net.A.toarray() ** 2).sum(1))
    np.testing.assert_allclose(GCN.of(graph, 5).of_features, (GCN.of(graph, 5).smoothed ** 2).sum(1))


def test_a_training_has_the_root_mean_square_of_its_nodes_terms():
    graph, rule = small(), SGD(0.5)
    net, rows = GCN.of(graph, dtype=float), split(graph, 3)[0][None]
    x, squares = net.start(3)[None], 0.0
    for _ in range(4):
        back = net.backward(x, graph.label, rows)
        x, squares = x - rule.lr * back.gradient, squares + back.term[0]
    run = race.nodes(graph, [("SGD", 0.5, 3)], steps=4, every=2)[0]
    np.testing.assert_allclose(run.term, np.sqrt(squares / 4), rtol=1e-9)


def test_rows_of_terms_are_those_of_the_training_that_they_name():
    degree = np.array([1.0, 10, 100, 1000])
    run = race.Run("SGD", 0.1, 0, 1.0, *[None] * 3, degree, degree, None, None, degree**0.5)
    flat = run._replace(term=np.ones(4))
    rows = figures.gradient_exponents({"torch": [flat]}, {"torch": [run], "sympy": [flat]})
    start = "a node's term in the weights' gradient"
    np.testing.assert_allclose(rows[f"{start}, symmetric aggregation (classes, torch)"], 0.5)
    np.testing.assert_allclose(rows[f"{start}, symmetric aggregation (classes, SymPy)"], 0, atol=1e-12)
    np.testing.assert_allclose(rows[f"{start}, mean aggregation (classes, torch)"], 0, atol=1e-12)
    np.testing.assert_allclose(rows["weights are shared, mean aggregation (classes, torch)"], 1)
    shares = figures.hub_shares({}, {"torch": [run]})
    np.testing.assert_allclose(shares[f"{start}, symmetric aggregation (classes, torch)"], 1000 / 1111)


def test_a_verdict_by_terms_has_them_in_the_place_of_hidden_states():
    book, start = Chapter("graph_hubs"), "a node's term in the weights' gradient, symmetric aggregation (classes, "
    low, high = (student(np.full(5, v) + np.arange(5) / 1e4) for v in (0.1, 0.9))
    rows = {"a row is a node (links, torch)": high, "weights are shared (classes, torch)": low}
    verdicts = {
        claim: Verdict(
            book.claims[claim],
            tuple(
                Evidence(m, place, interval, m.setting(place))
                for m in book.claims[claim].measures.values()
                for place, interval in of.items()
            ),
        )
        for claim, of in (
            ("GN1", rows | {f"{start}torch)": high}),
            ("GN2", rows | {"a row is a node (links, torch)": low, f"{start}torch)": low}),
        )
    }
    assert figures.by_terms(verdicts) == {"GN1": "holds", "GN2": "fails"}
    assert verdicts["GN1"].computed == "in part"


def test_the_features_of_a_hub_are_longer_or_shorter_by_the_normalisation():
    fitted = figures.feature_exponents()
    graph = race.graph_of("sympy")
    smoothed = adjacency(graph, "mean") @ graph.features
    assert fitted["mean-sympy"] == pytest.approx(
        race.exponent(graph.degree, np.linalg.norm(smoothed, axis=1)), abs=1e-4
    )
    assert (
        min(fitted["symmetric-torch"], fitted["symmetric-sympy"]) > 0 > max(fitted["mean-torch"], fitted["mean-sympy"])
    )


@pytest.mark.parametrize(
    "rule", [Adam(0.01), AdaGrad(0.1), SGD(0.5), Pooled(Adam(0.01))], ids=lambda r: type(r).__name__
)
def test_renaming_the_nodes_leaves_every_parameter_and_every_rate_where_it_was(rule):
    graph = small(400)
    assert race.rename(graph, rule).parameter < 1e-12
    assert race.rename(graph, rule).rates == 0
    # nodes that trade places without their edges are another graph
    broken = mutant(graphs.Graph, "np.asarray(order)[self.edges]", "self.edges")
    assert race.rename(broken(graph.n, graph.edges, graph.label, graph.features), rule).parameter > 1e-6


def test_without_features_a_row_belongs_to_a_node_and_travels_with_it():
    graph, order = small(), np.random.default_rng(7).permutation(60)
    bare = Graph(graph.n, graph.edges, graph.label)
    moved, rows = bare.relabelled(order), split(bare, 0)[2][None]
    net, other = GCN.of(bare, 5, dtype=float), GCN.of(moved, 5, dtype=float)
    x = net.start(0)[None]
    renamed = x.copy()
    renamed[0, : 60 * 5].reshape(60, 5)[order] = x[0, : 60 * 5].reshape(60, 5)
    g, h = (
        n.backward(y, m.label, r).gradient[0]
        for n, y, m, r in ((net, x, bare, rows), (other, renamed, moved, order[rows]))
    )
    np.testing.assert_allclose(h[: 60 * 5].reshape(60, 5)[order], g[: 60 * 5].reshape(60, 5), atol=1e-15)
    assert np.abs(h - g).max() > 1e-4


def test_torchs_layer_and_the_ensemble_are_the_same_network():
    graph = small()
    net, other = GCN.of(graph, 5, dtype=float), TwoLayers(7, 5, 3).double()
    x, propagate = net.start(0)[None], Propagation(graph, torch.float64)
    for W, given in zip(other.parameters(), net.weights(x), strict=True):
        W.data = torch.tensor(given[0])
    smoothed = propagate(torch.tensor(graph.features))
    out = other(propagate, smoothed)
    np.testing.assert_allclose(out.detach(), net.logits(x)[0], atol=1e-13)
    rows = split(graph, 0)[2]
    torch.nn.functional.cross_entropy(out[rows], torch.tensor(graph.label[rows])).backward()
    ours = net.backward(x, graph.label, rows[None]).gradient[0]
    np.testing.assert_allclose(np.concatenate([W.grad.ravel() for W in other.parameters()]), ours, atol=1e-14)


def test_the_way_back_through_a_symmetric_matrix_is_the_matrix():
    propagate = Propagation(small(), torch.float64)
    x = torch.randn(60, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(propagate, x)
    with pytest.raises(ShapeError, match="one row per node"):
        propagate(x[:5])
    with pytest.raises(ShapeError, match="x torch"):
        propagate(x.float())


def test_wide_and_narrow_rows_are_multiplied_by_the_same_matrix():
    propagate, narrow = Propagation(small(), torch.float64), convolution.NARROW
    x = torch.randn(60, narrow + 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    apart = torch.cat([propagate(part.contiguous()) for part in x.split(narrow, dim=1)], 1)
    np.testing.assert_allclose(propagate(x), apart, atol=1e-14)
    parts = [part.numpy() for part in (propagate.A.crow_indices(), propagate.A.col_indices(), propagate.A.values(), x)]
    broken = mutant(convolution._wide_product, "a * p[k] + b * q[k] + c * r[k]", "a * p[k] + b * q[k]")
    broken(*parts, out := np.empty_like(x))
    assert np.abs(out - apart.numpy()).max() > 1e-3


def test_the_hidden_layer_differentiates_by_all_that_it_is_given():
    draw = torch.Generator().manual_seed(0)
    parts = [
        torch.randn(*s, dtype=torch.float64, generator=draw, requires_grad=True) for s in ((20, 6), (6, 5), (5, 3))
    ]
    assert torch.autograd.gradcheck(convolution._Hidden.apply, parts)


def test_networks_that_cannot_be_built_say_why():
    with pytest.raises(ShapeError, match="without labels"):
        GCN.of(Graph(3, np.array([[0, 1]])))
    with pytest.raises(ShapeError, match="expects x of shape"):
        GCN.of(small()).logits(np.zeros((2, 5)))


# fleets


def trained(net, graph, rules, starts, rows, steps=50):
    fleet = Fleet(rules, starts.copy())
    for _ in range(steps):
        fleet.step(net.backward(fleet.x, graph.label, rows).gradient)
    return fleet.x


def test_members_of_an_ensemble_equal_single_runs():
    graph = small()
    net = GCN.of(graph, 5, dtype=float)
    rules = [Adam(0.01), SGD(0.5), AdaGrad(0.1), Pooled(Adam(0.01)), Adam(0.1), SGD(np.full(net.d, 0.2))] * 4
    starts = np.stack([net.start(seed) for seed in range(24)])
    rows = np.stack([split(graph, seed)[2] for seed in range(24)])
    batch = trained(net, graph, rules, starts, rows)
    for i in range(24):
        single = trained(net, graph, rules[i : i + 1], starts[i : i + 1], rows[i : i + 1])
        np.testing.assert_allclose(batch[i], single[0], rtol=0, atol=1e-10)


def test_members_equal_torchs_own_training():
    graph = small()
    net, parts = GCN.of(graph, 5, dtype=float), TwoLayers(7, 5, 3).double()
    starts, rows = net.start(0)[None], split(graph, 0)[2]
    for W, given in zip(parts.parameters(), net.weights(starts), strict=True):
        W.data = torch.tensor(given[0])
    propagate, optimizer = Propagation(graph, torch.float64), torch.optim.Adam(parts.parameters(), 0.01)
    smoothed = propagate(torch.tensor(graph.features))
    for _ in range(50):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(parts(propagate, smoothed)[rows], torch.tensor(graph.label[rows])).backward()
        optimizer.step()
    single = np.concatenate([W.detach().ravel() for W in parts.parameters()])
    np.testing.assert_allclose(trained(net, graph, [Adam(0.01)], starts, rows[None])[0], single, rtol=0, atol=1e-6)


def test_a_fleet_steps_each_rule_as_the_rule_itself():
    rng = np.random.default_rng(0)
    rules, x = [Adam(0.01), AdaGrad(0.1), Pooled(Adam(0.01)), SGD(np.linspace(0, 1, 6))], rng.standard_normal((4, 6))
    fleet, states, slow = Fleet(rules, x.copy()), [r.init(row) for r, row in zip(rules, x, strict=True)], x.copy()
    for _ in range(30):
        g = rng.standard_normal((4, 6))
        fleet.step(g)
        for i, rule in enumerate(rules):
            states[i], rate, direction = rule.step(states[i], g[i], slow[i])
            slow[i] -= rate * direction
    np.testing.assert_allclose(fleet.x, slow, atol=1e-14)
    broken = mutant(ensemble.Fleet, "zip(self.runs, g, strict=True)", "zip(self.runs, g[::-1], strict=True)")(
        rules, x.copy()
    )
    broken.step(g)
    assert np.abs(broken.x - x).max() > 1e-3
    with pytest.raises(ShapeError, match="4 rules need x"):
        Fleet(rules, x[:2])
    with pytest.raises(ShapeError, match="must agree"):
        fleet.step(g[:2])


# links


def test_the_gradient_of_a_batch_of_pairs_is_autograds():
    rng = np.random.default_rng(0)
    z, u, v = rng.standard_normal((9, 4)), rng.integers(9, size=30), rng.integers(9, size=30)
    y, out = (rng.random(30) < 0.3).astype(float), np.empty((9, 4))
    pair_gradient(z, u, v, y, out)
    t = torch.tensor(z, requires_grad=True)
    score = (t[u] * t[v]).sum(1)
    (torch.nn.functional.binary_cross_entropy_with_logits(score, torch.tensor(y), reduction="sum") / y.sum()).backward()
    np.testing.assert_allclose(out, t.grad, atol=1e-14)
    broken = mutant(link_prediction._pair_gradient, "out[b, j] += residual * z[a, j]", "pass")
    broken(z, u, v, y, out)
    assert np.abs(out - t.grad.numpy()).max() > 0.01


def test_light_gcn_is_the_mean_over_layers_and_is_its_own_way_back():
    graph, rng = small(), np.random.default_rng(0)
    A = adjacency(graph, loops=False)
    E, G = rng.standard_normal((2, 3, 60, 4))
    dense = A.toarray()
    z = (E + dense @ E + dense @ dense @ E) / 3
    np.testing.assert_allclose(link_prediction.light_gcn(A, E), z, atol=1e-14)
    t, B = torch.tensor(E, requires_grad=True), torch.tensor(dense)
    ((t + B @ t + B @ B @ t) / 3 * torch.tensor(G)).sum().backward()
    np.testing.assert_allclose(link_prediction.light_gcn(A, G), t.grad, atol=1e-14)
    mean = adjacency(graph, "mean", loops=False)  # is not its own transpose
    assert np.abs(link_prediction.light_gcn(mean, G) - t.grad.numpy()).max() > 1e-3


def test_the_propagated_runs_of_a_seed_use_its_edges_to_learn_from_alone():
    graph = graphs.committed_graph("sympy")
    plan = [("SGD", 3.0, 5), ("SGD", 3.0, 6), ("Adam", 0.01, 5)]
    together = race.links(graph, plan, steps=20, every=10, propagated=True)
    for run, cell in zip(together, plan, strict=True):
        alone = race.links(graph, [cell], steps=20, every=10, propagated=True)[0]
        np.testing.assert_allclose(run.row, alone.row, rtol=1e-5)
        assert run.score == pytest.approx(alone.score, abs=1e-6)
    leaking = mutant(
        race.links, "adjacency(t.train, dtype=np.float32, loops=False)", "adjacency(graph, dtype=np.float32)"
    )
    assert abs(leaking(graph, plan[2:], steps=20, every=10, propagated=True)[0].score - together[2].score) > 0.01


def test_decoys_of_like_degree_have_the_degree_of_the_partner_and_ranking_by_degree_is_chance():
    graph = graphs.committed_graph("sympy")
    task, plain = LinkTask(graph, 3, matched=True), LinkTask(graph, 3)
    np.testing.assert_array_equal(task.validation.decoys, plain.validation.decoys)
    known = {tuple(e) for e in graph.edges} | {tuple(e[::-1]) for e in graph.edges}
    pairs = [(u, w) for u, row in zip(task.test.u, task.test.decoys, strict=True) for w in row]
    assert not known & set(pairs)
    d = task.degree
    few = (d[task.test.v] > 0) & (d[task.test.v] <= 25)  # there are many nodes of each such degree
    off = np.abs(np.log(d[task.test.decoys[few]].mean(1) / d[task.test.v[few]]))
    assert np.median(off) < 0.05
    assert np.abs(race.by_degree(task) - 0.5).max() < 0.5 * np.abs(race.by_degree(plain) - 0.5).max()


def test_a_query_counts_the_decoys_below_the_true_neighbour_and_ties_by_half():
    z, out = np.array([[1.0], [2.0], [1.0], [2.0], [3.0]]), np.empty(1)
    link_prediction.rank_above(z, np.array([0]), np.array([1]), np.array([[2, 3, 4, 2]]), out)
    assert out[0] == (1 + 0.5 + 0 + 1) / 4


def test_a_split_keeps_its_parts_apart_and_decoys_are_no_neighbours():
    graph = graphs.committed_graph("torch")
    task = LinkTask(graph, 3)
    keys = [
        {tuple(sorted(e)) for e in part}
        for part in (task.train.edges, *(np.stack([q.u, q.v], 1) for q in (task.validation, task.test)))
    ]
    assert not keys[0] & keys[1]
    assert not keys[0] & keys[2]
    assert not keys[1] & keys[2]
    assert set.union(*keys) == {tuple(e) for e in graph.edges}
    known = {tuple(e) for e in graph.edges} | {tuple(e[::-1]) for e in graph.edges}
    decoys = {(u, w) for u, row in zip(task.test.u, task.test.decoys, strict=True) for w in row}
    hub = graph.degree.argmax()  # two thirds of the graph are its neighbours: 100 draws may not be enough for it alone
    assert not {pair for pair in decoys & known if hub not in pair}
    assert len(decoys & known) < 1e-4 * len(decoys)


def test_negatives_are_drawn_by_degree_to_three_quarters():
    degree = np.array([0, 1, 16, 81])
    share = np.bincount(link_prediction.negative_table(degree), minlength=4) / 2**16
    np.testing.assert_allclose(share, degree**0.75 / (degree**0.75).sum(), atol=1e-4)


def test_a_node_is_visited_as_often_as_its_degree_predicts():
    task = LinkTask(graphs.committed_graph("sympy"), 0)
    count = np.zeros(task.graph.n)
    for _ in range(200):
        u, v, _ = task.draw()
        np.add.at(count, np.concatenate([u, v]), 1)
    expected = 200 * task.batch * link_prediction.visits(task.degree)
    z = (count - expected)[expected > 20] / np.sqrt(expected[expected > 20])
    assert 0.9 < z.std() < 3.0  # negatives come with their query, four pairs at once
    assert abs(count.sum() / expected.sum() - 1) < 1e-12
    broken = 200 * task.batch * mutant(link_prediction.visits, "2 + negatives", "2")(task.degree)
    assert abs(count.sum() / broken.sum() - 1) > 0.1


def test_a_graph_too_small_to_split_is_refused():
    with pytest.raises(ShapeError, match="too small to split"):
        LinkTask(Graph(4, np.array([[0, 1]])), 0)


# races


def test_a_static_rate_is_one_over_the_root_of_the_count():
    rule = race.static(2.0, np.array([0, 1, 4]), 2, rest=1)
    np.testing.assert_allclose(rule.lr, [2, 2, 2, 2, 1, 1, 2])


def test_the_rate_that_is_reported_for_a_row_is_the_rules_own():
    run = race.links(
        graphs.committed_graph("sympy"),
        [("SGD", 3.0, 0), ("static rate", 3.0, 0), ("pooled Adam", 0.01, 0)],
        steps=20,
        every=10,
    )
    np.testing.assert_allclose(run[0].rate, 3.0, rtol=1e-6)
    np.testing.assert_allclose(run[1].rate, 3 / np.sqrt(np.maximum(run[1].degree, 1)), rtol=1e-6)
    assert np.ptp(run[2].rate) == 0


def test_rates_are_never_reported_on_the_seeds_that_chose_them():
    with pytest.raises(EvidenceError, match="in both sets"):
        race.reporting("links", "torch", {}, race.TUNING)
    assert not set(race.TUNING) & {s for seeds in race.SEEDS.values() for s in seeds}


def test_ranking_by_degree_is_above_one_half_and_knows_no_pair():
    task = LinkTask(graphs.committed_graph("sympy"), 3)
    u, v, decoys = task.test.u, task.test.v, task.test.decoys
    d = task.degree
    rank = (d[decoys] < d[v][:, None]).mean(1) + (d[decoys] == d[v][:, None]).mean(1) / 2
    rank[d[u] == 0] = 0.5  # who has no neighbour ranks nothing
    which = bins(d[u])
    expected = [rank[which == b].mean() for b in range(4)]
    np.testing.assert_allclose(race.by_degree(task), expected, atol=1e-12)
    assert min(expected) > 0.5


def test_the_share_of_the_top_counts_squares_of_the_nodes_with_the_highest_degrees():
    degree, gradient = np.array([1, 9, 2, 8, 3, 3, 3, 3, 3, 3]), np.arange(10.0)
    total = (gradient**2).sum()
    assert race.top_share(degree, gradient) == pytest.approx(1 / total)
    assert race.top_share(degree, gradient, 0.2) == pytest.approx((1 + 9) / total)
    assert race.top_share(degree, gradient, 1.0) == 1


def test_variants_are_tuned_and_reported_on_seeds_of_their_own():
    seeds = [race.TUNING, *race.SEEDS.values(), race.VARIANT_TUNING, *race.VARIANT_SEEDS.values()]
    for tuned in (race.TUNING, race.VARIANT_TUNING):
        assert not set(tuned) & {s for other in seeds if other is not tuned for s in other}
    for key, cell in race.variants().items():
        for name, of in cell["tuning"].items():
            assert not race.best_rate(of).at_edge, (key, name)
            assert [r["seed"] for r in cell["runs"][name]] == [*race.VARIANT_SEEDS[key.partition(", ")[0]]]


def test_what_was_learned_is_counted_above_its_floor():
    a, b = (figures.values("links, torch", name, "bins")[:, 0] for name in ("SGD", "Adam"))
    i = figures.ratio("links, torch", "SGD", "Adam", 0, np.full(20, 0.5))
    assert i.estimate == pytest.approx(np.exp(np.log((a - 0.5) / (b - 0.5)).mean()))
    assert i.low < i.estimate < i.high
    assert i.again(0.99, 0).low < i.low
    assert figures.ratio("links, torch", "SGD", "Adam", 0, 0.0).estimate != pytest.approx(i.estimate, rel=1e-3)


def test_the_verdict_on_rates_is_the_same_whichever_graph_without_features_is_stated():
    rows = figures.rate_exponents()
    without = ["Adam, X = I, a row is a node (classes, torch)", "Adam, X = I (classes, SymPy)"]
    region = Chapter("graph_hubs").region("GN3", "exponent")
    for place in without:
        widest = student(rows[place], level=1 - 0.05 / len(rows))  # whatever other rows are stated with it
        assert compare(widest, region) == "supports"
    assert compare(student(rows[without[1]] + 0.28), region) == "undecided"


def test_rates_of_rows_without_a_gradient_are_left_out():
    rows = np.array([1.0, 10, 100, 1000, 1, 1])
    rate = np.array([1.0, 0.1, 0.01, 0.001, 1e8, 1e8])
    run = race.Run("Adam", 0.1, 0, 1.0, *[None] * 3, rows, None, rate, np.array([1.0, 1, 1, 1, 0, 0]))
    np.testing.assert_allclose(race.reached(rows, run), (-1, -1))
    broken = mutant(race.reached, "r.row > 0", "r.row >= 0")
    assert broken(rows, run)[0] < -1.5
    kept = {key: figures.values(key, "Adam", "reached")[:, 0] for key in ("nodes, torch, X = I", *figures.BARE)}
    for key, fitted in kept.items():  # they have the largest rates and few neighbours
        assert (fitted > figures.values(key, "Adam", "rate")[:, 0] + 0.1).all()
    exponents = figures.rate_exponents()
    np.testing.assert_array_equal(exponents["Adam, X = I (classes, SymPy)"], kept[figures.BARE[0]])
    np.testing.assert_array_equal(
        exponents["Adam, X = I, rows with a gradient (classes, torch)"], kept["nodes, torch, X = I"]
    )


def test_adam_stands_beside_both_single_rates():
    rivals = figures.second_rivals()
    assert {place: name for place, (_, name) in rivals.items()} == {
        "a row is a node (links, torch), beside SGD": "SGD",
        "a row is a node (links, SymPy), beside heavy ball": "heavy ball",
        "weights are shared (classes, torch), beside SGD": "SGD",
        "weights are shared (classes, SymPy), beside SGD": "SGD",
    }
    place = "weights are shared (classes, torch), beside SGD"
    of = {name: figures.values("nodes, torch", name, "rough") for name in ("SGD", "heavy ball", "Adam")}
    assert figures.jumps()[place].estimate == pytest.approx((of["Adam"] - of["SGD"]).mean())
    bins = {name: np.ptp(figures.values("nodes, torch", name, "bins"), axis=1) for name in ("SGD", "Adam")}
    assert figures.gaps()[place].estimate == pytest.approx((bins["SGD"] - bins["Adam"]).mean())


def test_on_torchs_classes_the_second_rival_supports_neither_side_of_the_gap_and_turns_the_jumps():
    chapter, place = Chapter("graph_hubs"), "weights are shared (classes, torch)"
    said = {}
    for claim, measure, rows in (("GN4", "gap", figures.gaps()), ("GN4b", "jumps", figures.jumps())):
        for name in (place, f"{place}, beside SGD"):
            wide = rows[name].again(1 - 0.05 / 8, 0)
            said[claim, name == place] = compare(wide, chapter.region(claim, measure))
    assert said == {
        ("GN4", True): "supports",
        ("GN4", False): "undecided",
        ("GN4b", True): "contradicts",
        ("GN4b", False): "supports",
    }


def test_the_share_of_hidden_gradients_has_a_row_for_each_aggregation():
    averaged = {
        "torch": [
            race.Run("SGD", 0.1, s, 1.0, *[None] * 3, np.arange(10.0), np.arange(10.0), *[None] * 2, np.ones(10))
            for s in range(5)
        ]
    }
    shares = figures.hub_shares(averaged, {})
    np.testing.assert_allclose(shares["weights are shared, mean aggregation (classes, torch)"], 81 / 285)
    np.testing.assert_array_equal(
        shares["sum aggregation (classes, torch)"], figures.values("nodes, torch, sum", "SGD", "hubs")
    )
    np.testing.assert_array_equal(
        shares["weights are shared (classes, SymPy)"], figures.values("nodes, sympy", "SGD", "hubs")
    )


def test_a_nodes_gradient_means_in_the_claim_on_updates_what_it_means_in_the_claim_on_gradients():
    claims = Chapter("graph_hubs").claims
    assert claims["GN2"].measures["share"].stated == claims["GN1"].measures["exponent"].stated


def test_the_squared_gradient_of_a_row_of_light_gcn_adds_the_visits_with_squared_weights():
    graph, rng = small(), np.random.default_rng(3)
    A, met = adjacency(graph, loops=False), rng.uniform(1, 4, 60)
    pulls = rng.standard_normal((1, 60, 40_000)) * np.sqrt(met)[:, None]
    measured = (link_prediction.light_gcn(A, pulls)[0] ** 2).mean(1)
    np.testing.assert_allclose(link_prediction.propagated_visits(A, met), measured, rtol=0.05)
    broken = mutant(link_prediction.propagated_visits, "M**2 @ met", "(M @ met) ** 2")
    assert np.abs(broken(A, met) / measured - 1).max() > 0.5
    powers = figures.predicted_exponents()
    measured = -figures.values("links, torch, LightGCN", "Adam", "rate")[:, 0].mean()
    assert powers["LightGCN"] == pytest.approx(measured, abs=0.02)
    assert powers["a table"] > measured + 0.05


def test_longer_trainings_leave_the_gap_between_bins_undecided():
    rows = [i for of in (figures.gaps(), figures.lifts()) for place, i in of.items() if "200 steps" in place]
    assert len(rows) == 6
    wide = [i.again(1 - 0.05 / 29, 0) for i in rows]  # as wide as beside the other rows beyond
    assert {compare(i, Chapter("graph_hubs").region("GN4", "gap")) for i in wide} == {"undecided"}


def test_rows_of_the_third_graph_and_of_longer_trainings_are_named_for_what_they_are():
    gain = figures.values("nodes, sympy, regularised", "Adam", "bins")
    gain = gain - figures.values("nodes, sympy, regularised", race.single("nodes, sympy, regularised"), "bins")
    lift = figures.lifts()["200 steps, regularised, within bins (classes, SymPy)"]
    assert lift.estimate == pytest.approx((gain[:, 0] - gain[:, 3]).mean())
    nouns = figures.values("links, wordnet", "Adam", "rate")[:, 0]
    np.testing.assert_array_equal(figures.rate_exponents()["Adam, WordNet, a row is a node (links)"], nouns)
    mean = figures.gradient_exponents({}, {})["WordNet, mean aggregation (classes)"]
    np.testing.assert_array_equal(mean, figures.values("nodes, wordnet, mean", "SGD", "gradient"))


def test_slopes_are_those_of_powers():
    x = np.array([0.0, 1, 2, 3, 10])
    np.testing.assert_allclose(race.slope(x, np.where(x > 0, 5 * np.maximum(x, 1) ** -0.7, 0)), (-0.7, -1))
    assert race.slope(x, np.ones(5)) == (0, 0)


def test_the_exponent_among_nodes_of_like_degree_counts_those_without_a_gradient():
    degree = np.repeat([1, 10, 100], [400, 40, 4])
    values = np.where(np.arange(444) % 4, 0.0, 2.0) * degree**0.3  # three of four nodes get none
    np.testing.assert_allclose(race.exponent(degree, values), 0.3, atol=1e-12)
    broken = mutant(race.exponent, "np.mean", "np.max")
    values[0] = 100.0
    assert abs(broken(degree, values) - race.exponent(degree, values)) > 0.1


def test_the_table_has_the_chosen_rate_and_the_mean_over_the_reported_seeds():
    cell, runs = (race.recorded()["links, torch"][part]["Adam"] for part in ("tuning", "runs"))
    row = figures.table(["links, torch"]).loc["links, torch: Adam"]
    best = np.argmax(np.mean(cell["scores"], axis=1))
    assert 0 < best < 4
    assert (row["rate"], row["rates"]) == (f"{cell['lrs'][best]:.2g}", 5)
    assert (row["tuning seeds"], row["seeds"]) == (3, len(runs))
    assert row["all"] == f"{np.mean([r['score'] for r in runs]):.3f}"
    assert row["≥ 25"] == f"{np.mean([r['bins'][3] for r in runs]):.3f}"


def test_the_table_is_shown_with_all_its_rows(monkeypatch):
    frame, shown = figures.table([*race.recorded(), *race.VARIANTS]), []
    monkeypatch.setattr(figures, "display", lambda frame: shown.append(frame._repr_html_()))
    figures.whole(frame)
    assert len(frame) > 60
    assert shown[0].count("<tr") == len(frame) + 1
    assert frame._repr_html_().count("<tr") < len(frame)


def test_pooled_adams_mean_is_above_sgds_in_every_bin_of_torchs_links():
    gains = [figures.paired("links, torch", "pooled Adam", "SGD", "bins", b) for b in range(4)]
    assert all(gain.estimate > 0 for gain in gains)
    assert [gain.low > 0 for gain in gains] == [False, True, True, True]


@pytest.mark.slow
@pytest.mark.parametrize("key", [*race.FIELDS, *race.VARIANTS])
def test_random_cells_of_the_files_run_again_to_the_same_numbers(key):
    task, _, name = key.partition(", ")
    kept, settings = race.cell(key), race.VARIANTS.get(key, (None, {}))[1]
    rng = np.random.default_rng(len(key))
    method = str(rng.choice(list(kept["runs"])))
    seeds = [int(s) for s in rng.choice([r["seed"] for r in kept["runs"][method]], 2, replace=False)]
    picked = race.best_rate(kept["tuning"][method])
    for r in race.reporting(task, name, {method: picked}, seeds, **settings):
        stored = next(k for k in kept["runs"][method] if k["seed"] == r.seed)
        assert abs(r.score - stored["score"]) < 0.01
        assert abs(race.slope(race.counts(task, name, r), r.rate)[0] - stored["rate"][0]) < 0.02
