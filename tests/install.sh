# Sourced by scripts that need foreign programs: collects what is missing, then installs it in one go or says what to do.
missing_packages=()
missing_names=()

# need PROGRAM PACKAGE NAME: the program must be on the PATH. Without a package it cannot be installed from here.
need() {
  command -v "$1" >/dev/null 2>&1 && return 0
  if [ -z "$2" ]; then
    printf 'Please install %s first.\n' "$3" >&2
    exit 1
  fi
  missing_packages+=("$2")
  missing_names+=("$3")
}

# need_file PACKAGE NAME FILE...: one of the files must exist.
need_file() {
  local package=$1 name=$2 file
  shift 2
  for file in "$@"; do
    [ -e "$file" ] && return 0
  done
  missing_packages+=("$package")
  missing_names+=("$name")
}

# install_missing: installs with apt what was missing.
install_missing() {
  [ ${#missing_packages[@]} -eq 0 ] && return 0
  if ! command -v apt-get >/dev/null 2>&1; then
    printf 'Please install: %s\n' "$(IFS=,; echo "${missing_names[*]}")" >&2
    printf 'On Debian and Ubuntu the packages are: %s\n' "${missing_packages[*]}" >&2
    exit 1
  fi
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
      printf 'Please run as root: apt-get install %s\n' "${missing_packages[*]}" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  printf 'Installing: %s\n' "${missing_packages[*]}"
  # A package list may be missing or old on a fresh machine; refreshing it is tried once and may fail.
  "${as_root[@]}" apt-get update -qq || true
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing_packages[@]}" >/dev/null || {
    printf 'apt-get could not install: %s\n' "${missing_packages[*]}" >&2
    exit 1
  }
}
