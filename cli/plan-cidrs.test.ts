import { describe, expect, it } from 'vitest';
import { detectPodCIDRs, detectServiceCIDRs, planCIDRs, type CidrEvidence } from './plan-cidrs.ts';

const nothing: CidrEvidence = { controllerManagerArgs: [], nodePodCIDRs: [], podIPs: [], serviceCIDRs: [] };

describe('the pod range', () => {
  it.each([
    ['kubeadm-config', { kubeadm: { pods: '10.1.0.0/16' }, kubeProxy: '10.2.0.0/16' }, '10.1.0.0/16'],
    [
      'kube-controller-manager',
      { controllerManagerArgs: ['--v=2', '--cluster-cidr=10.3.0.0/16,fd00::/64'] },
      '10.3.0.0/16',
    ],
    ['kube-proxy', { kubeProxy: '10.2.0.0/16' }, '10.2.0.0/16'],
    ["nodes' podCIDRs", { nodePodCIDRs: ['10.244.0.0/24', '10.244.1.0/24'] }, '10.244.0.0/16'],
    ["nodes' podCIDRs", { nodePodCIDRs: ['10.244.0.0/24', '10.245.1.0/24', 'fd00::/64'] }, '10.244.0.0/15'],
    ['addresses of 2 pods', { podIPs: ['10.244.0.2', '10.244.1.9'] }, '10.244.0.0/16'],
  ])('is taken from %s', (source, evidence, cidr) => {
    expect(detectPodCIDRs({ ...nothing, ...evidence })).toMatchObject({ source, cidrs: [cidr] });
  });

  it('is called a guess when only addresses tell it, and nothing when they have nothing in common', () => {
    expect(detectPodCIDRs({ ...nothing, podIPs: ['10.244.0.2'] })?.isGuess).toBe(true);
    expect(detectPodCIDRs({ ...nothing, podIPs: ['10.244.0.2', '192.168.1.1'] })).toBeUndefined();
  });
});

describe('the Service range', () => {
  it('is taken from the ServiceCIDR first', () => {
    const evidence = { ...nothing, serviceCIDRs: ['10.96.0.0/16'], kubeadm: { services: '10.97.0.0/16' } };
    expect(detectServiceCIDRs(evidence)).toMatchObject({ source: 'ServiceCIDR', cidrs: ['10.96.0.0/16'] });
  });
});

describe('planCIDRs', () => {
  const evidence = { ...nothing, nodePodCIDRs: ['10.244.0.0/24'], serviceCIDRs: ['10.96.0.0/16'] };

  it('lets flags win', () => {
    expect(planCIDRs({ podCidr: ['10.9.0.0/16'] }, evidence).pods).toMatchObject({
      cidrs: ['10.9.0.0/16'],
      source: '--pod-cidr',
    });
  });

  it('keeps what is installed rather than detect it anew', () => {
    const { pods } = planCIDRs({}, evidence, { podCidr: ['10.8.0.0/16'] });
    expect(pods).toMatchObject({ cidrs: ['10.8.0.0/16'], source: 'the installed NetworkConfig' });
  });

  it.each([
    ['nothing tells it', {}, nothing, /does not tell its pods'/, /--pod-cidr/],
    [
      'a flag is malformed',
      { podCidr: ['10.9.0.0'] },
      evidence,
      /^--pod-cidr: .*not an IPv4 CIDR/,
      /10\.244/,
    ],
    ['a flag has host bits', { podCidr: ['10.9.1.0/16'] }, evidence, /host bits/, /10\.9\.0\.0\/16/],
    [
      'ranges overlap',
      { podCidr: ['10.0.0.0/8'] },
      evidence,
      /10\.0\.0\.0\/8 and 10\.96\.0\.0\/16 overlap/,
      /apart/,
    ],
    ['the external range is taken', { externalCidr: '10.244.8.0/24' }, evidence, /overlap/, /apart/],
  ])('says what to do when %s', (_, flags, given, message, hint) => {
    expect(() => planCIDRs(flags, given)).toThrow(
      expect.objectContaining({ message: expect.stringMatching(message), hint: expect.stringMatching(hint) }),
    );
  });
});
