/**
 * The part of a PodSpec that a consumer may say. zod drops every key that isn't named, so this is the allow-list; what a
 * provider has to refuse rather than to drop silently (because the pod would run differently) is named, too, and judged in
 * `plan-pod.ts`. Values inside are checked by the API server, which admits the pod as the peering.
 */
import { z } from 'zod';
import { DnsLabel, DnsSubdomain } from '../../api/cluster-id.ts';
import { QuantityString } from '../../api/quantity.ts';

const text = z.string().max(262_144);
const short = z.string().max(512);
const int = z.number().int();
const seconds = int.min(0).max(2 ** 31 - 1);
const port = z.union([int.min(1).max(65535), z.string().max(63)]);
const quantity = z.union([QuantityString, z.number().nonnegative().transform(String)]);
const resourceName = z
  .string()
  .max(253)
  .regex(/^[A-Za-z0-9](?:[-A-Za-z0-9_./]{0,251}[A-Za-z0-9])?$/);
const resourceList = z.record(resourceName, quantity.pipe(QuantityString));
const items = z.array(z.object({ key: short, path: z.string().max(4096), mode: int.optional() })).max(1000);
const configRef = { name: DnsSubdomain, optional: z.boolean().optional() };
const fieldRef = z.object({ apiVersion: z.literal('v1').optional(), fieldPath: short });
const resourceFieldRef = z.object({
  containerName: short.optional(),
  resource: short,
  divisor: quantity.optional(),
});

// Without `host`: the kubelet would send it from the node's network to wherever the consumer says.
const httpGet = z.object({
  path: text.optional(),
  port,
  scheme: z.enum(['HTTP', 'HTTPS']).optional(),
  httpHeaders: z
    .array(z.object({ name: short, value: text }))
    .max(64)
    .optional(),
});
const exec = z.object({ command: z.array(text).max(1000).optional() });
const tcpSocket = z.object({ port });
const probe = z.object({
  exec: exec.optional(),
  httpGet: httpGet.optional(),
  tcpSocket: tcpSocket.optional(),
  grpc: z.object({ port: int, service: short.optional() }).optional(),
  initialDelaySeconds: seconds.optional(),
  periodSeconds: seconds.optional(),
  timeoutSeconds: seconds.optional(),
  successThreshold: seconds.optional(),
  failureThreshold: seconds.optional(),
  terminationGracePeriodSeconds: seconds.optional(),
});
const handler = z.object({
  exec: exec.optional(),
  httpGet: httpGet.optional(),
  sleep: z.object({ seconds }).optional(),
});

const profile = z.object({
  type: z.enum(['RuntimeDefault', 'Unconfined', 'Localhost']),
  localhostProfile: short.optional(),
});
const containerSecurity = z.object({
  privileged: z.boolean().optional(),
  allowPrivilegeEscalation: z.boolean().optional(),
  readOnlyRootFilesystem: z.boolean().optional(),
  runAsUser: int.optional(),
  runAsGroup: int.optional(),
  runAsNonRoot: z.boolean().optional(),
  capabilities: z
    .object({ add: z.array(short).max(64).optional(), drop: z.array(short).max(64).optional() })
    .optional(),
  seccompProfile: profile.optional(),
  appArmorProfile: profile.optional(),
  procMount: z.enum(['Default', 'Unmasked']).optional(),
});
const podSecurity = z.object({
  runAsUser: int.optional(),
  runAsGroup: int.optional(),
  runAsNonRoot: z.boolean().optional(),
  fsGroup: int.optional(),
  fsGroupChangePolicy: z.enum(['OnRootMismatch', 'Always']).optional(),
  supplementalGroups: z.array(int).max(64).optional(),
  supplementalGroupsPolicy: z.enum(['Merge', 'Strict']).optional(),
  seccompProfile: profile.optional(),
  appArmorProfile: profile.optional(),
  sysctls: z
    .array(z.object({ name: short, value: short }))
    .max(64)
    .optional(),
});

const env = z.object({
  name: short,
  value: text.optional(),
  valueFrom: z
    .object({
      configMapKeyRef: z.object({ ...configRef, key: short }).optional(),
      secretKeyRef: z.object({ ...configRef, key: short }).optional(),
      fieldRef: fieldRef.optional(),
      resourceFieldRef: resourceFieldRef.optional(),
    })
    .optional(),
});
const resources = z.object({ requests: resourceList.optional(), limits: resourceList.optional() });

const container = z.object({
  name: DnsLabel,
  image: z.string().min(1).max(1024),
  imagePullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']).optional(),
  command: z.array(text).max(1000).optional(),
  args: z.array(text).max(1000).optional(),
  workingDir: z.string().max(4096).optional(),
  // Without hostPort and hostIP.
  ports: z
    .array(
      z.object({
        name: short.optional(),
        containerPort: int.min(1).max(65535),
        protocol: z.enum(['TCP', 'UDP', 'SCTP']).optional(),
      }),
    )
    .max(256)
    .optional(),
  env: z.array(env).max(1000).optional(),
  envFrom: z
    .array(
      z.object({
        prefix: short.optional(),
        configMapRef: z.object(configRef).optional(),
        secretRef: z.object(configRef).optional(),
      }),
    )
    .max(100)
    .optional(),
  resources: resources.optional(),
  resizePolicy: z
    .array(z.object({ resourceName: short, restartPolicy: z.enum(['NotRequired', 'RestartContainer']) }))
    .max(16)
    .optional(),
  // Without mountPropagation.
  volumeMounts: z
    .array(
      z.object({
        name: DnsLabel,
        mountPath: z.string().max(4096),
        subPath: z.string().max(4096).optional(),
        subPathExpr: z.string().max(4096).optional(),
        readOnly: z.boolean().optional(),
        recursiveReadOnly: z.enum(['Disabled', 'IfPossible', 'Enabled']).optional(),
      }),
    )
    .max(256)
    .optional(),
  livenessProbe: probe.optional(),
  readinessProbe: probe.optional(),
  startupProbe: probe.optional(),
  lifecycle: z
    .object({ postStart: handler.optional(), preStop: handler.optional(), stopSignal: short.optional() })
    .optional(),
  terminationMessagePath: z.string().max(4096).optional(),
  terminationMessagePolicy: z.enum(['File', 'FallbackToLogsOnError']).optional(),
  securityContext: containerSecurity.optional(),
  stdin: z.boolean().optional(),
  stdinOnce: z.boolean().optional(),
  tty: z.boolean().optional(),
  restartPolicy: z.enum(['Always', 'OnFailure', 'Never']).optional(),
});

const downwardAPI = {
  items: z
    .array(
      z.object({
        path: z.string().max(4096),
        fieldRef: fieldRef.optional(),
        resourceFieldRef: resourceFieldRef.optional(),
        mode: int.optional(),
      }),
    )
    .max(100)
    .optional(),
};
const volume = z.object({
  name: DnsLabel,
  configMap: z.object({ ...configRef, items: items.optional(), defaultMode: int.optional() }).optional(),
  secret: z
    .object({
      secretName: DnsSubdomain,
      optional: z.boolean().optional(),
      items: items.optional(),
      defaultMode: int.optional(),
    })
    .optional(),
  emptyDir: z.object({ medium: z.string().max(64).optional(), sizeLimit: quantity.optional() }).optional(),
  downwardAPI: z.object({ ...downwardAPI, defaultMode: int.optional() }).optional(),
  projected: z
    .object({
      defaultMode: int.optional(),
      sources: z
        .array(
          z.object({
            configMap: z.object({ ...configRef, items: items.optional() }).optional(),
            secret: z.object({ ...configRef, items: items.optional() }).optional(),
            downwardAPI: z.object(downwardAPI).optional(),
          }),
        )
        .max(100)
        .optional(),
    })
    .optional(),
  image: z
    .object({
      reference: z.string().max(1024),
      pullPolicy: z.enum(['Always', 'IfNotPresent', 'Never']).optional(),
    })
    .optional(),
  // Only claims of this consumer's own volumes; judged when the pod is made.
  persistentVolumeClaim: z.object({ claimName: DnsSubdomain, readOnly: z.boolean().optional() }).optional(),
  hostPath: z.object({ path: z.string().max(4096), type: short.optional() }).optional(),
});

const labelSelector = z.object({
  matchLabels: z.record(z.string().max(317), z.string().max(63)).optional(),
  matchExpressions: z
    .array(
      z.object({
        key: z.string().max(317),
        operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
        values: z.array(z.string().max(63)).max(100).optional(),
      }),
    )
    .max(32)
    .optional(),
});

/** See the head of the file. */
export const ForeignPodSpec = z.object({
  containers: z.array(container).min(1).max(64),
  initContainers: z.array(container).max(64).optional(),
  volumes: z.array(volume).max(256).optional(),
  restartPolicy: z.enum(['Always', 'OnFailure', 'Never']).optional(),
  terminationGracePeriodSeconds: seconds.optional(),
  activeDeadlineSeconds: seconds.optional(),
  dnsPolicy: z.enum(['ClusterFirst', 'Default', 'None', 'ClusterFirstWithHostNet']).optional(),
  dnsConfig: z
    .object({
      nameservers: z.array(z.string().max(45)).max(3).optional(),
      searches: z.array(z.string().max(253)).max(32).optional(),
      options: z
        .array(z.object({ name: short, value: short.optional() }))
        .max(32)
        .optional(),
    })
    .optional(),
  hostname: DnsLabel.optional(),
  subdomain: DnsLabel.optional(),
  setHostnameAsFQDN: z.boolean().optional(),
  hostAliases: z
    .array(z.object({ ip: z.string().max(45), hostnames: z.array(z.string().max(253)).max(64).optional() }))
    .max(64)
    .optional(),
  imagePullSecrets: z
    .array(z.object({ name: DnsSubdomain }))
    .max(32)
    .optional(),
  readinessGates: z
    .array(z.object({ conditionType: z.string().max(317) }))
    .max(16)
    .optional(),
  securityContext: podSecurity.optional(),
  shareProcessNamespace: z.boolean().optional(),
  resources: resources.optional(),
  os: z.object({ name: z.enum(['linux', 'windows']) }).optional(),
  topologySpreadConstraints: z
    .array(
      z.object({
        maxSkew: int.min(1).max(100_000),
        topologyKey: z.string().max(317),
        whenUnsatisfiable: z.enum(['DoNotSchedule', 'ScheduleAnyway']),
        labelSelector: labelSelector.optional(),
        minDomains: int.min(1).max(1000).optional(),
        matchLabelKeys: z.array(z.string().max(317)).max(16).optional(),
      }),
    )
    .max(16)
    .optional(),
});
export type ForeignPodSpec = z.infer<typeof ForeignPodSpec>;
