-- Healthy: all parts are ready, or the agent rests because its budget is spent.
-- Progressing: parts are being made. Degraded: a person must do something, and the
-- message says what. Argo CD's Lua has no string library.
local hs = {status = "Progressing", message = "Waiting for Crossplane to look at the order"}
if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "The order is being deleted"
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
    return {status = "Suspended", message = sentence(synced, "Crossplane was told to leave the order alone")}
  end
  return {status = "Degraded", message = sentence(synced, "Crossplane can't work on the order; kubectl describe says why")}
end
-- What is healthy while it is True. Ready comes last: it says what waits, not why.
local wrong = {"DatasetValid", "NamesFree", "OrderAllowed", "DatasetFitsSandbox", "CredentialsPresent"}
for _, type in ipairs(wrong) do
  local c = conditions[type]
  if c ~= nil and c.status == "False" then
    return {status = "Degraded", message = sentence(c, type .. " is False")}
  end
end
local budget = obj.status ~= nil and obj.status.budget or nil
if budget ~= nil and budget.paused == true and budget.cause == "budget-exhausted" and synced ~= nil then
  return {status = "Healthy", message = "Paused: the budget is spent. Raise budgetUsd in the order, or wait for its next period"}
end
local held = conditions["PartsHeldBack"]
if held ~= nil and held.status == "True" then
  hs.message = sentence(held, "Parts wait for others")
  return hs
end
local ready = conditions["Ready"]
if ready ~= nil and ready.status == "True" and synced ~= nil and synced.status == "True" then
  return {status = "Healthy", message = sentence(ready, "All parts are ready")}
end
if ready ~= nil then
  hs.message = sentence(ready, "Parts are being made")
end
return hs
