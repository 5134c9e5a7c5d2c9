import subprocess
import sys

MODULES = ["deployment", "http.api", "service", "model_host", "catalog_watcher"]
TRAINING = {"mlflow", "pyspark", "raydp", "optuna", "streamlit", "ray.tune"}


def test_a_replica_imports_nothing_of_training():
    imports = "; ".join(f"import closedloop.serve.{name}" for name in MODULES)
    program = (
        f"import sys; {imports}; import closedloop.models.model_file; "
        f"print(sorted({TRAINING} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr
