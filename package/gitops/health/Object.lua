-- Objects of provider-kubernetes, both flavours. What the provider can't apply is
-- Degraded, whatever is still ready of what it applied before.
local hs = {status = "Progressing", message = "Waiting for provider-kubernetes"}
if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "The object is being deleted"
  return hs
end
if obj.status == nil or obj.status.conditions == nil then
  return hs
end
local ready, synced
for _, c in ipairs(obj.status.conditions) do
  if c.type == "Ready" then ready = c end
  if c.type == "Synced" then synced = c end
end
if synced ~= nil and synced.status == "False" then
  if synced.reason == "ReconcilePaused" then
    return {status = "Suspended", message = "provider-kubernetes was told to leave the object alone"}
  end
  return {status = "Degraded", message = synced.message}
end
if ready ~= nil and ready.status == "True" and synced ~= nil then
  return {status = "Healthy", message = ready.message}
end
if ready ~= nil and ready.message ~= nil and ready.message ~= "" then
  hs.message = ready.message
end
return hs
