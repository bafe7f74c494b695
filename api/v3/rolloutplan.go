package v3

// RolloutPlanExample is a manifest with every key of a rollout's plan.
const RolloutPlanExample = `applications:
- name: web
  rollout:                 # or only the name of a preset: rollout: canary
    preset: canary         # all-at-once, blue-green, canary, canary-10-5m,
                           # linear, linear-10-1m, rings (that of a plan with
                           # rings and no steps), shadow
    steps:                 # instead of the preset's
    - {ring: copies, bake: 10m, min-compared: 500} # nobody in it: gets copies
    - {ring: staff, bake: 1h, probe: /health}      # those who match get it
    - {weight: 1, bake: 5m, min-clients: 20}       # percent of the requests
    - {weight: 10, gate: approve}                  # weir rollout promote web
    - {weight: 50, gate: "https://ci.example.com/gate"}  # 200 opens, 202 waits
    - {weight: 100, bake: 30m}
    rings:
      copies: []
      staff: [{header: X-Staff, exact: "1"}, {cidr: 10.0.0.0/8}]
    bake: 5m               # of steps that do not say it
    min-requests: auto     # as many as show the regression of judge: detect
    min-clients: 0
    min-endpoints: 0%      # of the endpoints that the old version is asked for
    max-bake: 2h           # a step waits so long for usage, then it pauses
    warmup: 30s            # at the beginning of a step; no bake time
    warmup-requests: 50    # whose latency does not count, of each instance
    start-timeout: 5m
    gate-timeout: 10m      # a URL without an answer for so long pauses
    probes: [/health, "/ready=200,204"]            # before anybody gets it
    count-probes: false    # for min-requests
    judge:
      error: {alpha: 0.005, tolerate: 0%}          # wrong once in 200 rollouts
      latency: {alpha: 0.003, tolerate: 10%, slack: 5ms}
      custom: {alpha: 0.002, tolerate: 0%, events: [checkout-failed]} # X-Weir-Event
      detect: 5            # times as many failures
      count-4xx: [404]     # count as failures, too; otherwise no 4xx does
      exclude-paths: [/health]                     # and below: not counted
    on-fail: rollback      # pause, report
    on-silence: extend     # promote, rollback
    keep-old: 1h           # without requests, to go back to at once
    keep-bad: 1h           # to look at
    scale-with-weight: false                       # instances by share, of both
    concurrency: supersede # another rollout; queue, refuse
    freeze: ["Fri 16:00-Mon 08:00 Europe/Berlin"]
    hooks:                 # are told by POST; nobody waits for them
      before-start: "https://ci.example.com/hook"
      before-step: "https://ci.example.com/hook"
      after-step: "https://ci.example.com/hook"
      on-rollback: "https://ci.example.com/hook"
      on-done: "https://ci.example.com/hook"
`
