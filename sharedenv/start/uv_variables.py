"""The UV_* variables of uv 0.13.9, sorted: what counts, what passes through, what is kept from uv. Data, no imports.

A variable that stands in none of these tables counts: a future uv may resolve by it, and an environment too many is
cheaper than a wrong one.
"""


def _words(text: str) -> frozenset[str]:
    return frozenset("UV_" + word for word in text.split())


#: passed on to uv, never counted: where to, through what, how fast, with which messages
PASSED = _words(
    """API_KEY ASTRAL_MIRROR_URL AUTH_TOKEN AZURE_ENDPOINT_URL CACHE_DIR COMPILE_BYTECODE_TIMEOUT CONCURRENT_BUILDS
    CONCURRENT_CACHE_READS CONCURRENT_DOWNLOADS CONCURRENT_INSTALLS CREDENTIALS_DIR GCS_ENDPOINT_URL
    GITHUB_FAST_PATH_URL GITHUB_TOKEN GRAALPY_INSTALL_MIRROR HIDE_BUILD_OUTPUT HTTP_CONNECT_TIMEOUT HTTP_RETRIES
    HTTP_TIMEOUT INSECURE_HOST KEYRING_PROVIDER LEGACY_TAR_BACKEND LINK_MODE LOCK_TIMEOUT LOG_CONTEXT MALWARE_CHECK
    MALWARE_CHECK_URL NATIVE_TLS NO_CACHE NO_GITHUB_FAST_PATH NO_HF_TOKEN NO_PROGRESS NO_WRAP OFFLINE PREVIEW
    PREVIEW_FEATURES PYODIDE_INSTALL_MIRROR PYPY_INSTALL_MIRROR PYTHON_BIN_DIR PYTHON_CACHE_DIR PYTHON_DOWNLOADS
    PYTHON_DOWNLOADS_JSON_URL PYTHON_INSTALL_BIN PYTHON_INSTALL_DIR PYTHON_INSTALL_MIRROR PYTHON_SEARCH_PATH
    REQUEST_TIMEOUT REQUIRE_METADATA_RANGE_REQUESTS S3_ENDPOINT_URL STACK_SIZE SYSTEM_CERTS"""
)

#: those of them that name a folder or a file: uv is started in another folder than the user stands in
FOLDERS = _words("CACHE_DIR CREDENTIALS_DIR PYTHON_BIN_DIR PYTHON_CACHE_DIR PYTHON_DOWNLOADS_JSON_URL PYTHON_INSTALL_DIR")

#: kept from uv, never counted: where to build and what to be, which sharedenv decides, or nothing that concerns scripts
DROPPED = _words(
    """BREAK_SYSTEM_PACKAGES COMPILE_BYTECODE CONFIG_FILE CUSTOM_COMPILE_COMMAND DEV DOWNLOAD_URL ENV_FILE FROZEN
    INIT_BARE INIT_BUILD_BACKEND INSTALLER_GHE_BASE_URL INSTALLER_GITHUB_BASE_URL INSTALL_DIR ISOLATED LOCKED
    NO_CONFIG NO_DEFAULT_GROUPS NO_DEV NO_ENV_FILE NO_GROUP NO_INSTALL_LOCAL NO_INSTALL_PROJECT NO_INSTALL_WORKSPACE
    NO_MODIFY_PATH NO_PROJECT NO_SYNC NO_SYSTEM_CONFIG ONLY_INSTALL_LOCAL ONLY_INSTALL_PROJECT
    ONLY_INSTALL_WORKSPACE PROJECT PROJECT_ENVIRONMENT PUBLISH_CHECK_URL PUBLISH_INDEX PUBLISH_NO_ATTESTATIONS
    PUBLISH_PASSWORD PUBLISH_TOKEN PUBLISH_URL PUBLISH_USERNAME PYTHON PYTHON_INSTALL_REGISTRY PYTHON_NO_REGISTRY
    REQUIRE_HASHES NO_VERIFY_HASHES RUN_MAX_RECURSION_DEPTH RUN_RECURSION_DEPTH RUN_RLIMIT_NOFILE SHOW_RESOLUTION
    SYSTEM_PYTHON TOOL_BIN_DIR TOOL_DIR UNMANAGED_INSTALL UPDATE_SCHEMA UPLOAD_HTTP_TIMEOUT VENV_CLEAR
    VENV_RELOCATABLE VENV_SEED WORKING_DIR WORKING_DIRECTORY"""
)

#: counted, on or off
FLAGS = _words(
    """GIT_LFS INSECURE_NO_ZIP_VALIDATION MANAGED_PYTHON NO_BINARY NO_BUILD NO_BUILD_ISOLATION NO_EDITABLE
    NO_INSTALLER_METADATA NO_MANAGED_PYTHON NO_SOURCES REQUIRE_BUILD_HASHES SKIP_WHEEL_FILENAME_CHECK"""
)
#: counted, names of packages with spaces between
NAMES = _words("NO_BINARY_PACKAGE NO_BUILD_PACKAGE NO_SOURCES_PACKAGE")
#: counted, URLs or folders → what stands between them (None: there is one)
LOCATIONS = {
    "UV_DEFAULT_INDEX": None,
    "UV_EXTRA_INDEX_URL": " ",
    "UV_FIND_LINKS": ",",
    "UV_INDEX": " ",
    "UV_INDEX_URL": None,
}
#: counted by the content of the files they name, with spaces between
FILES = ("UV_BUILD_CONSTRAINT", "UV_CONSTRAINT", "UV_EXCLUDE", "UV_OVERRIDE")
#: counted as they stand (every other one is, too): here for the record
PLAIN = _words(
    """AMD_GPU_ARCHITECTURE CUDA_DRIVER_VERSION EXCLUDE_NEWER FORK_STRATEGY INDEX_STRATEGY LIBC PRERELEASE
    PYTHON_CPYTHON_BUILD PYTHON_GRAALPY_BUILD PYTHON_PREFERENCE PYTHON_PYODIDE_BUILD PYTHON_PYPY_BUILD RESOLUTION
    TORCH_BACKEND"""
)


def role(name: str) -> str:
    """``counted``, ``passed`` or ``dropped``, for a variable whose name starts with UV_."""
    if name in PASSED or is_credential(name):
        return "passed"
    # uv sets these for its children and its own tests
    return "dropped" if name in DROPPED or name.startswith(("UV_INTERNAL__", "UV_TEST_")) else "counted"


def is_credential(name: str) -> bool:
    """Whether it is UV_INDEX_<NAME>_USERNAME or …_PASSWORD: passed on, never counted or shown."""
    return name.startswith("UV_INDEX_") and name.endswith(("_USERNAME", "_PASSWORD"))


def is_secret(name: str) -> bool:
    """Whether a passed variable's value must not be seen in a log."""
    return is_credential(name) or name in ("UV_API_KEY", "UV_AUTH_TOKEN", "UV_GITHUB_TOKEN")


def is_on(value: str) -> bool:
    """Whether a flag is on, as uv reads it (clap's boolish values)."""
    return value.lower() not in ("", "0", "false", "f", "no", "n", "off")
