"""Types of the part of xllamacpp that is used here."""

class CommonParamsModel:
    path: str

class CpuParams:
    n_threads: int

class CommonParams:
    model: CommonParamsModel
    cpuparams: CpuParams
    cpuparams_batch: CpuParams
    hostnames: list[str]
    n_parallel: int
    n_ctx: int
    n_threads_http: int
    use_jinja: bool
    offline: bool
    cache_ram_mib: int
    ui: bool
    endpoint_slots: bool
    endpoint_props: bool
    verbosity: int

class Server:
    def __init__(self, params: CommonParams) -> None: ...
