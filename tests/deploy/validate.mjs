// Reads a JSON list of the Prometheus operator's resources; prints what their schema has against each, "" for nothing.
import { readFileSync } from "node:fs";
import { PodMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";

const KINDS = { PodMonitor, PrometheusRule };

const said = JSON.parse(readFileSync(0, "utf8")).map((resource) => {
  try {
    new KINDS[resource.kind](resource).validate();
    return "";
  } catch (error) {
    return String(error.message);
  }
});
console.log(JSON.stringify(said));
