#!/usr/bin/env bash
# A real schema registry (Apicurio, in memory, with Confluent's API) from Maven Central; no container.
#   schema_registry.sh install   download (needs java >= 17, mvn)
#   schema_registry.sh converters   download its converters for Kafka Connect, print the folder for its plugin.path
#   schema_registry.sh guard     run in the foreground until standard input ends (what the tests use)
# Env: REGISTRY_FOLDER (logs)  REGISTRY_PORT  REGISTRY_USER, REGISTRY_PASSWORD (basic authentication, when set)
#      APICURIO_VERSION (3.0.9; later ones need Java 21)  CONVERTER_VERSION (2.6.13.Final)  KAFKA_BASE (.services in the repository)  MVN_ARGS (for mvn)
set -euo pipefail
APICURIO_VERSION=${APICURIO_VERSION:-3.0.9}
KAFKA_BASE=${KAFKA_BASE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/.services}
HOME_OF_IT=$KAFKA_BASE/apicurio-$APICURIO_VERSION
CONVERTER_VERSION=${CONVERTER_VERSION:-2.6.13.Final}
CONVERTERS=$KAFKA_BASE/converters-apicurio-$CONVERTER_VERSION

say() { printf '%s\n' "$*" >&2; }

keep() { # WORK TARGET: two installs at once: whoever renames first wins, both end with a complete folder
  touch "$1/out/.complete"
  [ -f "$2/.complete" ] || { rm -rf "$2"; mv -T "$1/out" "$2" 2>/dev/null || [ -f "$2/.complete" ]; }
  rm -rf "$1"
}

install() {
  [ -f "$HOME_OF_IT/.complete" ] && return
  local work; mkdir -p "$KAFKA_BASE"; work=$(mktemp -d "$KAFKA_BASE/install.XXXXXX")
  say "downloading Apicurio $APICURIO_VERSION (about 110 MB, once) ..."
  # shellcheck disable=SC2086
  (cd "$work" && mvn -B -q dependency:unpack -Dartifact="io.apicurio:apicurio-registry-app:$APICURIO_VERSION:tar.gz:all" -DoutputDirectory="$work/out" ${MVN_ARGS:-}) \
    || { rm -rf "$work"; say "Maven could not download Apicurio $APICURIO_VERSION"; return 1; }
  keep "$work" "$HOME_OF_IT"
}

converters() { # for Kafka Connect: Avro, and JSON with a JSON Schema
  if [ ! -f "$CONVERTERS/.complete" ]; then
    local work; mkdir -p "$KAFKA_BASE"; work=$(mktemp -d "$KAFKA_BASE/install.XXXXXX")
    {
      echo '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
      echo '<groupId>local.harness</groupId><artifactId>converters</artifactId><version>1</version><packaging>pom</packaging><dependencies><dependency>'
      echo "<groupId>io.apicurio</groupId><artifactId>apicurio-registry-utils-converter</artifactId><version>$CONVERTER_VERSION</version>"
      echo '</dependency></dependencies></project>'
    } > "$work/pom.xml"
    # shellcheck disable=SC2086
    (cd "$work" && mvn -B -q dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$work/out/apicurio" ${MVN_ARGS:-}) >&2 \
      || { rm -rf "$work"; say "Maven could not download Apicurio's converters $CONVERTER_VERSION"; return 1; }
    keep "$work" "$CONVERTERS"
  fi
  echo "$CONVERTERS"
}

guard() {
  install
  mkdir -p "$REGISTRY_FOLDER"
  local options=(-Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port="$REGISTRY_PORT" -Dquarkus.http.access-log.enabled=false)
  if [ -n "${REGISTRY_USER:-}" ]; then
    options+=(-Dquarkus.http.auth.proactive=true -Dquarkus.http.auth.basic=true
      -Dquarkus.security.users.embedded.enabled=true -Dquarkus.security.users.embedded.plain-text=true
      "-Dquarkus.security.users.embedded.users.$REGISTRY_USER=$REGISTRY_PASSWORD" "-Dquarkus.security.users.embedded.roles.$REGISTRY_USER=user"
      '-Dquarkus.http.auth.permission.all.paths=/*' -Dquarkus.http.auth.permission.all.policy=authenticated)
  fi
  exec 3<&0
  java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "${options[@]}" -jar "$HOME_OF_IT/apicurio-registry-app-$APICURIO_VERSION-runner.jar" \
    </dev/null >"$REGISTRY_FOLDER/registry.log" 2>&1 3<&- &
  local server=$!
  echo "$server" > "$REGISTRY_FOLDER/registry.pid"
  ( while read -r _ <&3; do :; done; kill -9 "$server" 2>/dev/null ) >/dev/null 2>&1 &
  local watch=$!
  local code=0; wait "$server" || code=$?
  kill "$watch" 2>/dev/null || true
  return "$code"
}

case ${1:-} in
  install) install ;;
  converters) converters ;;
  guard) guard ;;
  *) say "usage: $0 install|converters|guard"; exit 2 ;;
esac
