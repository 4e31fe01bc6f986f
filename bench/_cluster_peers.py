"""Peers with schedulers or pools of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from _cluster_engine import SLOTS, Engine


class Dask(Engine):
    """Dask's distributed, two worker processes of one thread each."""

    name, title, module, dataflow = "dask", "Dask", "distributed", True
    share_of_tasks = 0.05

    def start(self, run_dir: str) -> None:
        from distributed import Client, LocalCluster

        self._cluster = LocalCluster(
            n_workers=SLOTS, threads_per_worker=1, processes=True, dashboard_address=None,
            local_directory=run_dir,
        )  # fmt: skip
        self._client = Client(self._cluster)

    def stop(self) -> None:
        self._client.close()
        self._cluster.close()

    def app(self, func: Callable[..., Any]) -> Callable[..., Any]:
        submit = self._client.submit
        return lambda *args, **kwargs: submit(func, *args, pure=False, **kwargs)

    def results(self, handles: Sequence[Any]) -> list[Any]:
        return list(self._client.gather(list(handles)))

    def map(self, func: Callable[..., Any], items: Iterable[Any]) -> Iterable[Any]:
        return self.results(self._client.map(func, items, pure=False))

    def share(self, value: Any) -> Any:
        return self._client.scatter(value, broadcast=True)

    def fan_in(self, app: Callable[..., Any], leaves: list[Any]) -> Any:
        return app(leaves)


class Frisky(Engine):
    """Frisky, a scheduler like Dask's in Rust; two worker processes of one thread each."""

    name, title, module, dataflow = "frisky", "Frisky", "frisky", True
    share_of_tasks = 0.05

    def start(self, run_dir: str) -> None:
        import frisky

        self._cluster = frisky.LocalCluster(n_workers=SLOTS, threads_per_worker=1, processes=True)
        self._client = self._cluster.get_client()

    def stop(self) -> None:
        self._client.close()
        self._cluster.close()

    def app(self, func: Callable[..., Any]) -> Callable[..., Any]:
        submit = self._client.submit
        return lambda *args, **kwargs: submit(func, *args, **kwargs)

    def results(self, handles: Sequence[Any]) -> list[Any]:
        return list(self._client.gather(list(handles)))

    def map(self, func: Callable[..., Any], items: Iterable[Any]) -> Iterable[Any]:
        return self.results(self._client.map(func, list(items)))

    def share(self, value: Any) -> Any:
        # With broadcast=True it does not come back in 0.7.2.
        return self._client.scatter(value)

    def fan_in(self, app: Callable[..., Any], leaves: list[Any]) -> Any:
        return app(leaves)


class Ray(Engine):
    """Ray with two cores; its map is its own process pool, in pieces."""

    name, title, module, dataflow = "ray", "Ray", "ray", True
    share_of_tasks = 0.05

    def start(self, run_dir: str) -> None:
        import ray

        self._ray = ray
        ray.init(
            num_cpus=SLOTS, include_dashboard=False, log_to_driver=False,
            configure_logging=False, object_store_memory=2 * 1024**3,
        )  # fmt: skip

    def stop(self) -> None:
        self._ray.shutdown()

    def app(self, func: Callable[..., Any]) -> Callable[..., Any]:
        made: Callable[..., Any] = self._ray.remote(func).remote
        return made

    def result(self, handle: Any) -> Any:
        return self._ray.get(handle)

    def results(self, handles: Sequence[Any]) -> list[Any]:
        return list(self._ray.get(list(handles)))

    def map(self, func: Callable[..., Any], items: Iterable[Any]) -> Iterable[Any]:
        from ray.util.multiprocessing import Pool

        if not hasattr(self, "_pool"):
            self._pool = Pool(SLOTS)
        return list(self._pool.map(func, items, chunksize=500))

    def share(self, value: Any) -> Any:
        return self._ray.put(value)

    def fan_in(self, app: Callable[..., Any], leaves: list[Any]) -> Any:
        return app(*leaves)


class Loky(Engine):
    """loky's reusable pool."""

    name, title, module = "loky", "loky", "loky"

    def start(self, run_dir: str) -> None:
        from loky import get_reusable_executor

        self._pool = get_reusable_executor(max_workers=SLOTS, timeout=300)

    def stop(self) -> None:
        self._pool.shutdown()

    def app(self, func: Callable[..., Any]) -> Callable[..., Any]:
        submit = self._pool.submit
        return lambda *args: submit(func, *args)

    def map(self, func: Callable[..., Any], items: Iterable[Any]) -> Iterable[Any]:
        results: Iterable[Any] = self._pool.map(func, items, chunksize=500)
        return results


class Joblib(Engine):
    """joblib's Parallel, which takes maps alone; it makes batches and memory maps by itself."""

    name, title, module, submits = "joblib", "joblib", "joblib", False

    def start(self, run_dir: str) -> None:
        import joblib

        self._delayed = joblib.delayed
        self._parallel = joblib.Parallel(n_jobs=SLOTS, temp_folder=run_dir)
        self._parallel.__enter__()

    def stop(self) -> None:
        self._parallel.__exit__(None, None, None)

    def map(self, func: Callable[..., Any], items: Iterable[Any]) -> Iterable[Any]:
        call = self._delayed(func)
        return list(self._parallel(call(item) for item in items))
