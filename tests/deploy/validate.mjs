// Reads a JSON list of custom resources; prints what their schema has against each, "" for nothing.
import { readFileSync } from "node:fs";
import { Rollout } from "@kubernetes-models/argo-rollouts/argoproj.io/v1alpha1/Rollout";
import { PodMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor";
import { PrometheusRule } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PrometheusRule";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";

const KINDS = { PodMonitor, PrometheusRule, Rollout, ServiceMonitor };

const said = JSON.parse(readFileSync(0, "utf8")).map((resource) => {
  try {
    new KINDS[resource.kind](resource).validate();
    return "";
  } catch (error) {
    return String(error.message);
  }
});
console.log(JSON.stringify(said));
