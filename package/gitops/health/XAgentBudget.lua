-- Healthy: spend is measured and the agent may run, or rests because its budget is
-- spent. Degraded: the figure can't be trusted, and the message says why.
local hs = {status = "Progressing", message = "Waiting for Crossplane to look at the budget"}
if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "The budget is being deleted"
  return hs
end
local conditions = {}
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, c in ipairs(obj.status.conditions) do
    conditions[c.type] = c
  end
end
local function sentence(c, otherwise)
  if c ~= nil and c.message ~= nil and c.message ~= "" then
    return c.message
  end
  return otherwise
end
local synced = conditions["Synced"]
if synced ~= nil and synced.status == "False" then
  if synced.reason == "ReconcilePaused" then
    return {status = "Suspended", message = sentence(synced, "Crossplane was told to leave the budget alone")}
  end
  return {status = "Degraded", message = sentence(synced, "Crossplane can't work on the budget; kubectl describe says why")}
end
local measured = conditions["SpendMeasured"]
if measured ~= nil and measured.status == "False" then
  if measured.reason == "CatchingUp" then
    hs.message = sentence(measured, "Many hours are being counted")
    return hs
  end
  return {status = "Degraded", message = sentence(measured, "Spend can't be measured")}
end
local priced = conditions["PricingComplete"]
if priced ~= nil and priced.status == "False" then
  return {status = "Degraded", message = sentence(priced, "A model has no price")}
end
if obj.status ~= nil and obj.status.cause == "agent-unreachable" then
  return {status = "Degraded", message = "The agent's Deployments can't be reached: kubectl describe the two Objects named agent-...-replicas"}
end
if obj.status ~= nil and obj.status.paused == true then
  return {status = "Healthy", message = sentence(conditions["WithinBudget"], "Paused: the budget is spent")}
end
if synced ~= nil and synced.status == "True" and conditions["Ready"] ~= nil and conditions["Ready"].status == "True" then
  return {status = "Healthy", message = sentence(conditions["WithinBudget"], "The agent may run")}
end
return hs
