"""What the watched trees use of the GPUs: the series of each tree and of its processes."""

from prom_probe.collectors.base import Context
from prom_probe.collectors.gpu import families
from prom_probe.collectors.gpu.maxima import GpuMaxima
from prom_probe.collectors.gpu.source import GpuProcess, GpuSample, PidKind, Trees
from prom_probe.collectors.series import SeriesWriter
from prom_probe.model.definition import READABLE
from prom_probe.sources.pid_namespace import has_host_pids, is_own_namespace


class GpuProcesses:
    """Takes the samples of one collection between `begin` and `end`."""

    def __init__(self, context: Context, series: SeriesWriter, maxima: GpuMaxima) -> None:
        self._context = context
        self._series = series
        self._maxima = maxima
        self._tree_of: dict[int, str] = {}
        self._trees: Trees = {}
        self._readable: bool | None = None
        self._said = False
        self._totals: dict[tuple[str, str], float] = {}  # engine seconds by tree and engine
        self._before: dict[tuple[int, str], float] = {}
        self._now: dict[tuple[int, str], float] = {}
        self._memory: dict[str, float] = {}  # of all GPUs, by tree
        self._peaks: dict[str, float] = {}
        self._began = False  # what processes used before the first collection does not count
        # Whether PIDs of each kind match those in procfs.
        self._fits: dict[PidKind, bool] = {
            "procfs": True,
            "own": is_own_namespace(context.procfs),
            "host": has_host_pids(context.procfs),
        }

    def begin(self, trees: Trees) -> None:
        self._trees = trees
        self._tree_of = {pid: tree for tree, pids in trees.items() for pid in pids}
        self._readable = None
        self._now = {}
        self._memory = {}

    def add(self, sample: GpuSample) -> None:
        if sample.processes is None:
            if sample.denied:
                self._readable = False
            return
        fits = self._fits[sample.pids]
        self._readable = fits and self._readable is not False
        if not fits:
            if not self._said:
                self._said = True
                self._context.log(
                    "warn",
                    f"GPU {sample.info.uuid}: the driver numbers processes as the machine does, which cannot be "
                    "matched from this PID namespace: no gpu_process_ and proctree_gpu_ series",
                )
            return
        uuid = sample.info.uuid
        mine: dict[str, dict[int, GpuProcess]] = {tree: {} for tree in self._trees}
        for pid, process in sample.processes.items():
            tree = self._tree_of.get(pid)
            if tree is not None:
                mine[tree][pid] = process
                self._write_process(uuid, tree, pid, process)
        for tree, processes in mine.items():
            self._write_tree(uuid, tree, processes)

    def _write_process(self, uuid: str, tree: str, pid: int, process: GpuProcess) -> None:
        write, exposed = self._series.write, self._context.expose_per_process
        number = str(pid)
        if process.memory is not None:
            write(families.PROCESS_MEMORY, process.memory, uuid, tree, number, exposed=exposed)
        for engine, ratio in process.utilization.items():
            write(families.PROCESS_UTILIZATION, ratio, uuid, tree, number, engine, exposed=exposed)
        for engine, seconds in process.engine_seconds.items():
            self._now[pid, engine] = self._now.get((pid, engine), 0.0) + seconds

    def _write_tree(self, uuid: str, tree: str, processes: dict[int, GpuProcess]) -> None:
        write = self._series.write
        write(families.TREE_PROCESSES, len(processes), tree, uuid)
        memory = [process.memory for process in processes.values() if process.memory is not None]
        if len(memory) == len(processes):
            write(families.TREE_MEMORY, sum(memory), tree, uuid)
            self._maxima.add(sum(memory), tree, uuid)
            self._memory[tree] = self._memory.get(tree, 0.0) + sum(memory)
        ratios: dict[str, float] = {}
        for process in processes.values():
            for engine, ratio in process.utilization.items():
                ratios[engine] = ratios.get(engine, 0.0) + ratio
        for engine, ratio in ratios.items():
            write(families.TREE_UTILIZATION, ratio, tree, uuid, engine)

    def end(self) -> None:
        write = self._series.write
        for (pid, engine), seconds in self._now.items():
            tree = self._tree_of[pid]
            gained = max(0.0, seconds - self._before.get((pid, engine), 0.0)) if self._began else 0.0
            self._totals[tree, engine] = self._totals.get((tree, engine), 0.0) + gained
            write(
                families.PROCESS_ENGINE_SECONDS,
                seconds,
                tree,
                str(pid),
                engine,
                exposed=self._context.expose_per_process,
            )
        if self._readable is not None:
            self._before, self._began = self._now, True
        for (tree, engine), total in self._totals.items():
            if tree in self._trees:
                write(families.TREE_ENGINE_SECONDS, total, tree, engine)
        for tree, memory in self._memory.items():
            self._peaks[tree] = max(memory, self._peaks.get(tree, 0.0))
        if self._readable is not None:
            write(READABLE, self._readable, "gpu_processes")

    def checkpoint(self) -> tuple[list[tuple[str, str, float]], dict[str, float]]:
        """Engine seconds by tree and engine, and each tree's peak of memory."""
        return [(tree, engine, total) for (tree, engine), total in self._totals.items()], self._peaks

    def restore(self, totals: list[tuple[str, str, float]], peaks: dict[str, float]) -> None:
        self._totals.update({(tree, engine): total for tree, engine, total in totals})
        self._peaks.update(peaks)
